# Torture::Lane - one cdcdump with a slot, a state file and an output of its own, started again whenever it has
# ended, and a judge that gets all that it gives.
#
#   my $lane = Torture::Lane::Pipe->new(name => 'pipe', server => $pg, db => 'shop', dir => $dir, args => [...]);
#   $lane->start;  $lane->tick while …;       # tick() starts it again, looks at its memory, and dies when it
#                                             # has ended as nobody expected
#   $lane->expect(signal => 9);               # so may it end from here on, once
#   $lane->tolerate('exit 5');                # the same as often as it likes, in this round
#   $lane->down(1); … $lane->down(0);         # not started again meanwhile
#   $lane->caught_up($lsn)                    # whether its state file has got there
#   $lane->judge_output                       # hands the judge what has been accepted since
#   $lane->tidy                               # between rounds: what has been judged may go
#
# new(%opts): name, server, db, dir, args; proxy => $proxy (a Torture::Proxy): by TCP through that, else by the
# unix socket; faults => $f (a CdcTest::Faults): with the shim; messages => 1: records for messages; tells_time => 1: its
# records say when they were written; transport => 'sql': how changes come, with small pieces and a small backlog as what
# is caught up with through SQL.
#
# Kinds: File (-f, rotated by SIGHUP), Files (-f with placeholders), Append (standard output is a file), Pipe
# (a reader that is a process of its own and appends what it takes to a file), Reply (such a reader that says what
# it has dealt with), Exec (commands that keep their batches), Deferred (bounded runs, and --ack between them).
package Torture::Lane;
use v5.36;

use Errno ();
use JSON::PP ();
use Time::HiRes qw(sleep time);

use Cdc;
use CdcTest::Process;
use CdcTest::Records qw(record);
use PgServer;
use Torture::Judge;

# kB; the sanitizers need memory of their own
our $MAX_RSS = 24 * 1024;
our $MAX_GROWTH = 4 * 1024;    # from the first look at it to the last

sub is_sanitized () {
    state $answer = do {
        open my $fh, '<:raw', $Cdc::BINARY or die "could not open \"$Cdc::BINARY\": $!\n";
        local $/;
        <$fh> =~ /__asan_init/ ? 1 : 0;
    };
    return $answer;
}

sub new ($class, %opts) {
    my $self = bless {
        args => [], %opts, starts => 0, pieces => 0, ends => {}, expected => [], excused => 0, may_start => 0, is_down => 0,
        rss => {}, looked_at => 0, parts => [],
    }, $class;
    $self->{dir} .= "/$self->{name}";
    mkdir $self->{dir} or die "could not create directory \"$self->{dir}\": $!\n";
    $self->{state} = "$self->{dir}/state.json";
    $self->{judge} = Torture::Judge->new(name => $self->{name}, messages => $opts{messages} // 0, repeats => $self->repeats);
    return $self;
}

sub name ($self) { return $self->{name} }
sub judge ($self) { return $self->{judge} }
sub repeats ($self) { return 0 }    # whether it may give again what was not on record
sub is_pipe ($self) { return 0 }
sub is_bounded ($self) { return 0 }
sub replies ($self) { return 0 }
sub ends_when_closed ($self) { return [signal => 13] }    # the reader of its pipe has gone
sub slot ($self) { return "torture_$self->{name}" }

# ---- the process ----

sub conninfo ($self) {
    my %through = $self->{proxy} ? (tcp => 1, port => $self->{proxy}->port) : ();
    return $self->{server}->connstr($self->{db}, %through, connect_timeout => 10, application_name => $self->{name});
}

sub argv ($self) {
    return ($Cdc::BINARY, '-d', $self->conninfo, '-S', $self->slot, qw(-m never --publication-mode existing --publication torture),
        '--state', $self->{state}, qw(-v --status-interval 0.5 --retry-delay 0.1 --stall-timeout 1),
        $self->{messages} ? '--messages' : (), $self->transport_args, @{ $self->{args} });
}

sub transport_args ($self) {
    my $transport = $self->{transport} // return;
    return ("--transport=$transport", $transport eq 'stream' ? () : '--catch-up-bytes=4kB');
}

sub running ($self) { return $self->{process} && $self->{process}->running }
sub pid ($self) { return $self->{process}->pid }

sub start ($self) {
    return if $self->running;
    my $err = "$self->{dir}/err";
    rename $err, "$err.1" if (-s $err // 0) > 500_000;
    $self->{err_mark} = -s $err // 0;
    $self->{expected} = [];
    my $env = { ASAN_OPTIONS => 'detect_leaks=0:exitcode=99', UBSAN_OPTIONS => 'halt_on_error=1:print_stacktrace=1:exitcode=99',
        $self->{faults} ? %{ $self->{faults}->env } : () };
    $self->begin_run($self->recorded);
    $self->{process} = $self->spawn([$self->argv], $env, ">>$err");
    $self->{starts}++;
    $self->{started} = time;
}

sub begin_run ($self, $lsn) { }
sub end_run ($self) { }

sub spawn ($self, $argv, $env, $err) {
    return CdcTest::Process->spawn(argv => $argv, stdin => 'null', stdout => 'null', stderr => $err, env => $env);
}

# What this run has said so far.
sub said ($self) {
    open my $fh, '<', "$self->{dir}/err" or return '';
    seek $fh, $self->{err_mark}, 0;
    local $/;
    return scalar(<$fh>) // '';
}

# How often it has begun to read changes, in either way.
sub streams ($self) { return scalar(() = $self->said =~ /streaming from|reading through SQL from/g) }

# Whether one of its sessions holds a slot, ours or a copy.
sub holds_slot ($self) {
    return $self->{server}->sql('postgres', "SELECT count(*) FROM pg_replication_slots s JOIN pg_stat_activity a ON a.pid = s.active_pid
        WHERE application_name = '$self->{name}'") > 0;
}

# Its sessions on the server: where changes are read through SQL none of them holds the slot.
sub backends ($self) {
    return map { $_->[0] } @{ $self->{server}->query('postgres', "SELECT pid FROM pg_stat_activity WHERE application_name = '$self->{name}' ORDER BY random()") };
}

# It has come so far that it heeds signals and has a connection.
sub is_up ($self) { return $self->running && $self->catches('TERM') && $self->streams > 0 }

sub catches ($self, $signal) {
    state $number = do {
        require Config;
        my @names = split ' ', $Config::Config{sig_name};
        +{ map { $names[$_] => $_ } 1 .. 31 };
    };
    return hex(substr $self->status('SigCgt') // '0', -8) >> ($number->{$signal} - 1) & 1;
}

sub status ($self, $member) {
    open my $fh, '<', '/proc/' . $self->pid . '/status' or return undef;
    my ($value) = join('', <$fh>) =~ /^$member:\s*(\S+)/m;
    return $value;
}

sub pause ($self) { return 0.02 }    # seconds between an end and the next start

# So may it end as often as it likes, until the end of the round.
sub tolerate ($self, $end) { $self->{tolerated}{$end} = 1 }

sub round_is_over ($self) {
    $self->{excused} = 0;
    $self->{tolerated} = {};
}

sub expect ($self, %how) { push @{ $self->{expected} }, \%how }
sub down ($self, $is_down) { $self->{is_down} = $is_down }

sub kill ($self, $signal) { return $self->running && $self->{process}->kill($signal) }

sub tick ($self) {
    if ($self->{process} && !$self->running) {
        $self->_has_ended;
    } elsif (!$self->{process}) {
        $self->start if !$self->{is_down} && time >= $self->{may_start};
    } elsif (time > $self->{looked_at} + 0.5) {
        $self->_look_at_memory;
    }
}

sub _how_ended ($self) {
    my $p = $self->{process};
    return defined $p->exit ? (exit => $p->exit) : (signal => $p->signal);
}

sub _has_ended ($self) {
    my ($how, $number) = $self->_how_ended;
    my $said = $self->said;
    my $fits = $self->{tolerated}{"$how $number"} || grep { defined $_->{$how} && $_->{$how} == $number } @{ $self->{expected} };
    # The server is away, or has not noticed yet that the one before has gone.
    $fits ||= $self->{excused} && $how eq 'exit' && $number == 3;
    die "$self->{name}: cdcdump ended with $how $number; it said:\n" . substr($said, -3000) . "\n"
        if !$fits || $said =~ /Sanitizer|runtime error: /;
    $self->{last_end} = "$how $number";
    $self->{ends}{"$how $number"}++;
    $self->{pieces} += () = $said =~ /reading from \S+ to \S+ through SQL/g;
    delete $self->{process};
    $self->end_run;
    $self->{may_start} = time + ($how eq 'exit' && $number == 3 ? 0.3 : $self->pause);
}

sub _look_at_memory ($self) {
    $self->{looked_at} = time;
    my ($rss, $peak) = map { $self->status($_) } qw(VmRSS VmHWM);
    return unless $rss && $peak;
    my $r = $self->{rss};
    # what a run needs once it stands
    if (time > $self->{started} + 1) {
        $r->{first} //= $rss;
        $r->{last} = $rss;
        $r->{samples}++;
    }
    $r->{max} = $peak if $peak > ($r->{max} // 0);
    die "$self->{name}: cdcdump needs $peak kB of memory\n" if $peak > $MAX_RSS && !is_sanitized();
}

# A program that has run for an hour needs what it needed in the beginning.
sub check_memory ($self) {
    my ($first, $last) = @{ $self->{rss} }{qw(first last)};
    die "$self->{name}: memory has grown from $first to $last kB\n" if $first && $last > $first + $MAX_GROWTH && !is_sanitized();
}

# ---- the state file ----

sub state_data ($self) {
    open my $fh, '<:raw', $self->{state} or return undef;
    local $/;
    state $json = JSON::PP->new->utf8;
    return $json->decode(scalar <$fh>);
}

sub recorded ($self) {
    my $s = $self->state_data or return 0;
    return PgServer::lsn_num($s->{lsn});
}

sub caught_up ($self, $lsn) { return $self->running && $self->recorded >= $lsn }

# ---- bytes of files, line by line ----

# Whole lines of a file between two offsets; returns the offset behind the last.
sub lines_of ($self, $path, $from, $to, $take) {
    return $from if $to <= $from;
    my $fh;
    # a file that is not complete gets another name when it is
    open $fh, '<:raw', $path or $path =~ /(.*)\.partial\z/ && open $fh, '<:raw', $1 or die "$self->{name}: could not open \"$path\": $!\n";
    seek $fh, $from, 0;
    my $name = $path =~ s{.*/}{}r;
    while ($from < $to) {
        my $line = <$fh>;
        die "$self->{name}: $name ends at $from, before byte $to\n" unless defined $line;
        last if $line !~ /\n\z/;
        die "$self->{name}: $name: a line from $from on goes beyond byte $to\n" if $from + length $line > $to;
        $take->($line, "$name byte $from");
        $from += length $line;
    }
    return $from;
}

# When the newest record was written, in seconds, as it says itself; undef where none does.
sub last_written ($self) {
    open my $fh, '<:raw', $self->newest or return undef;
    my $size = -s $fh;
    seek $fh, $size > 100_000 ? $size - 100_000 : 0, 0;
    my $bytes = do { local $/; <$fh> } // '';
    my ($ms) = $bytes =~ /.*"ts_ms":(\d+),"ts_us":\d+,"ts_ns":\d+\}\n/s or return undef;
    return $ms / 1000;
}

sub take_line ($self, $line, $where) {
    chomp $line;
    my $record = eval { record($line) } // die "$self->{name}: $where is not JSON: " . substr($line, 0, 300) . "\n";
    $self->{judge}->take($record, $where);
}

sub tidy ($self) { }

# ---- -f FILE, with rotation ----
package Torture::Lane::File;
use v5.36;
use parent -norequire, 'Torture::Lane';

sub new ($class, %opts) {
    my $self = Torture::Lane::new($class, %opts);
    $self->{path} = "$self->{dir}/out.ndjson";
    push @{ $self->{args} }, '-f', $self->{path};
    $self->{read} = 0;
    return $self;
}

sub newest ($self) { return $self->{path} }

# As logrotate does it.  The old file is judged whole.
sub rotate ($self) {
    my $old = "$self->{path}." . ++$self->{rotated};
    rename $self->{path}, $old or die "rename: $!\n";
    push @{ $self->{parts} }, $old;
    $self->kill('HUP');
}

sub has_rotated ($self) { return -e $self->{path} }

sub judge_output ($self) {
    my $take = sub ($line, $where) { $self->take_line($line, $where) };
    while (my $old = shift @{ $self->{parts} }) {
        my $size = -s $old;
        my $end = $self->lines_of($old, $self->{read}, $size, $take);
        die "$self->{name}: $old ends in the midst of a line\n" if $end != $size;
        unlink $old;
        $self->{read} = 0;
    }
    my $s = $self->state_data;
    my $length = $s && $s->{output}{length} // return;
    my $end = $self->lines_of($self->{path}, $self->{read}, $length, $take);
    die "$self->{name}: what was accepted ends in the midst of a line\n" if $end != $length;
    $self->{read} = $end;
}

# ---- -f with placeholders ----
package Torture::Lane::Files;
use v5.36;
use parent -norequire, 'Torture::Lane';

use Time::HiRes qw(sleep);

sub new ($class, %opts) {
    my $self = Torture::Lane::new($class, %opts);
    $self->{out} = "$self->{dir}/out";
    push @{ $self->{args} }, '-f', "$self->{out}/$self->{pattern}";
    $self->{read} = {};
    return $self;
}

# The files without their name yet, as the state file has them.  It tells of one that is complete until it is
# written the next time: that may have its name, and we may have taken it away.
sub under_way ($self) {
    for (1 .. 200) {
        my $s = $self->state_data or return;
        my @files = grep { $_->{length} > 0 } @{ $s->{files} // [] };
        return grep { -e "$_->{path}.partial" } @files unless grep { !$_->{complete} && !-e "$_->{path}.partial" } @files;
        sleep 0.01;
    }
    die "$self->{name}: the state file names a file that is not there: $self->{out}\n";
}

# Files are read in no order, so their records are put into one first.
sub judge_output ($self) {
    my @records;
    my $take = sub ($line, $where) {
        chomp $line;
        my $r = eval { CdcTest::Records::record($line) } // die "$self->{name}: $where is not JSON: $line\n";
        push @records, [PgServer::lsn_num($r->{commit_lsn}), $r->{seq}, $r, $where];
    };
    for my $f ($self->under_way) {
        my $path = "$f->{path}.partial";
        my $end = $self->lines_of($path, $self->{read}{ $f->{path} } // 0, $f->{length}, $take);
        die "$self->{name}: what was accepted of $path ends in the midst of a line\n" if $end != $f->{length};
        $self->{read}{ $f->{path} } = $end;
    }
    for my $path (grep { !/\.partial\z/ } glob "$self->{out}/*") {
        my $end = $self->lines_of($path, $self->{read}{$path} // 0, -s $path, $take);
        die "$self->{name}: $path ends in the midst of a line\n" if $end != -s $path;
        # a reader takes away what has its name
        delete $self->{read}{$path};
        unlink $path;
        $self->{files}++;
    }
    $self->{judge}->take($_->[2], $_->[3]) for sort { $a->[0] <=> $b->[0] || $a->[1] <=> $b->[1] } @records;
}

# ---- standard output appended to a file ----
package Torture::Lane::Append;
use v5.36;
use parent -norequire, 'Torture::Lane';

use CdcTest::Formats;

my $header = "op,commit_lsn,tx_seq,xid,ts,schema,table,key,before,after\n";

sub new ($class, %opts) {
    my $self = Torture::Lane::new($class, %opts);
    $self->{number} = 1;
    $self->{read} = 0;
    return $self;
}

sub path ($self) { return "$self->{dir}/out.$self->{number}" }

sub spawn ($self, $argv, $env, $err) {
    return CdcTest::Process->spawn(argv => $argv, stdin => 'null', stdout => '>>' . $self->path, stderr => $err, env => $env);
}

sub judge_output ($self) {
    my $s = $self->state_data or return;
    my $output = $s->{output} or return;
    # of a new file nothing may be on record yet
    return if $output->{path} ne $self->path;
    my @lines;
    my $take = sub ($line, $where) { push @lines, $line unless $where =~ /byte 0\z/ && $line eq $header };
    my $from = $self->{read};
    $self->{read} = $self->lines_of($self->path, $from, $output->{length}, $take);
    my $n = 0;
    $self->{judge}->take($_, $self->path . " record " . ++$n . " from byte $from on") for csv_records(join '', $header, @lines);
}

# It goes on in another file, from time to time.
sub tidy ($self) {
    if ($self->{old} && $self->running && $self->{read} > 0) {
        unlink delete $self->{old};
    }
    return if $self->{read} < 3_000_000 || !$self->is_up || $self->{is_down};
    $self->expect(exit => 0);
    $self->{old} = $self->path;
    $self->kill('TERM');
    $self->{process}->wait_exit(60) or die "$self->{name}: does not end on SIGTERM\n";
    $self->{number}++;
    $self->{read} = 0;
}

# ---- a pipe ----
package Torture::Lane::Pipe;
use v5.36;
use parent -norequire, 'Torture::Lane';

use Time::HiRes qw(time);

my $reader = "$Cdc::TOP/tests/torture/reader";

sub repeats ($self) { return 1 }
sub is_pipe ($self) { return 1 }

sub begin_run ($self, $lsn) {
    my $number = $self->{starts} + 1;
    push @{ $self->{parts} }, { path => "$self->{dir}/run.$number", floor => $lsn, read => 0 };
}

sub spawn ($self, $argv, $env, $err) {
    pipe my $from, my $to or die "pipe: $!\n";
    my $part = $self->{parts}[-1];
    my $process = CdcTest::Process->spawn(argv => $argv, stdin => 'null', stdout => $to, stderr => $err, env => $env, fds => $self->fds);
    $part->{reader} = $self->{reader} = CdcTest::Process->spawn(argv => [$^X, $self->reader($part->{path})], stdin => $from, fds => $self->reader_fds);
    return $process;
}

sub newest ($self) { return $self->{parts}[-1]{path} }
sub reader ($self, $path) { return ($reader, $path) }
sub fds ($self) { return {} }
sub reader_fds ($self) { return {} }

# All that was in the pipe has to be in the file before the run's output is looked at.
sub end_run ($self) {
    $self->{reader}->kill('CONT');
    $self->{reader}->wait_exit(60) or die "$self->{name}: the reader does not end\n";
    $self->{parts}[-1]{ended} = 1;
}

sub judge_output ($self) {
    my $take = sub ($line, $where) { $self->take_line($line, $where) };
    while (my $part = $self->{parts}[0]) {
        $self->{judge}->begins($part->{floor}) unless $part->{begun}++;
        $part->{read} = $self->lines_of($part->{path}, $part->{read}, -s $part->{path} // 0, $take);
        last unless $part->{ended};
        # a torn last line is no record
        $self->{judge}->ends;
        unlink $part->{path}, "$part->{path}.held";
        shift @{ $self->{parts} };
    }
    $self->{judge}->forget($self->recorded);
}

# What has been judged makes room on the disk.
sub tidy ($self) {
    my $part = $self->{parts}[0] or return;
    return if @{ $self->{parts} } > 1 || $part->{read} < 3_000_000 || $part->{read} != -s $part->{path} || $part->{ended};
    # the reader appends, so it goes on at the beginning
    truncate $part->{path}, 0 or die "truncate: $!\n";
    $part->{read} = 0;
}

# ---- a pipe whose reader says what it has dealt with ----
package Torture::Lane::Reply;
use v5.36;
use parent -norequire, 'Torture::Lane::Pipe';

sub new ($class, %opts) {
    my $self = Torture::Lane::new($class, %opts);
    push @{ $self->{args} }, qw(--ack-mode reply --ack-fd 3);
    return $self;
}

sub replies ($self) { return 1 }
sub reader ($self, $path) { return ($reader, '--reply', $path) }

sub fds ($self) {
    pipe my $from, my $to or die "pipe: $!\n";
    $self->{reply_end} = $to;
    return { 3 => $from };
}

sub reader_fds ($self) { return { 3 => delete $self->{reply_end} } }

# Its reader goes, and with it whoever could reply: cdcdump may notice either first.
sub ends_when_closed ($self) { return ([signal => 13], [exit => 5]) }

sub held_at ($self) {
    open my $fh, '<', "$self->{parts}[-1]{path}.held" or return undef;
    return PgServer::lsn_num(scalar <$fh>);
}

# ---- commands ----
package Torture::Lane::Exec;
use v5.36;
use parent -norequire, 'Torture::Lane';

sub new ($class, %opts) {
    my $self = Torture::Lane::new($class, %opts);
    push @{ $self->{args} }, qw(--batch-rows 300 --batch-seconds 0.3 --exec-retries 1),
        "--exec=exec $^X $Cdc::TOP/tests/torture/command $self->{dir} $self->{state}";
    $self->{torn} = 0;
    return $self;
}

sub repeats ($self) { return 1 }

# What one command has got is judged as a run: it may be a batch that another one has had before.
sub judge_output ($self) {
    for my $path (sort grep { !/\.new\z/ } glob "$self->{dir}/batch.*") {
        open my $fh, '<:raw', $path or die "$self->{name}: could not open \"$path\": $!\n";
        my $first = <$fh>;
        my ($position, $begin, $end) = split ' ', $first;
        $self->{judge}->begins(PgServer::lsn_num($position));
        my $at = length $first;
        my $to = $self->lines_of($path, $at, -s $path, sub ($line, $where) { $self->take_line($line, $where) });
        # cdcdump was killed while it wrote to the command
        $self->{torn}++ if $to < -s $path || !$self->{judge}{place_whole};
        $self->{judge}->ends;
        unlink $path;
        $self->{batches}++;
    }
}

sub fail_next ($self, @how) {
    my $path = "$self->{dir}/fail";
    open my $fh, '>', "$path.mine" or die "could not write \"$path\": $!\n";
    print $fh "$_\n" for @how;
    close $fh;
    unlink "$self->{dir}/failed";
    rename "$path.mine", $path or die "rename: $!\n";
}

# How many have.
sub failed ($self) {
    open my $fh, '<', "$self->{dir}/failed" or return 0;
    return scalar(() = <$fh>);
}

# ---- runs that are acknowledged afterwards ----
package Torture::Lane::Deferred;
use v5.36;
use parent -norequire, 'Torture::Lane::Pipe';

# One run after another up to where the server is; two of three are acknowledged.
sub new ($class, %opts) {
    my $self = Torture::Lane::new($class, %opts);
    push @{ $self->{args} }, qw(--ack-mode deferred -E now);
    $self->{turn} = 0;
    return $self;
}

sub is_bounded ($self) { return 1 }
sub pause ($self) { return 0.2 }

sub argv ($self) {
    return $self->{acks} ? ($Cdc::BINARY, '--ack', '-v', '-d', $self->conninfo, '--state', $self->{state}) : $self->SUPER::argv;
}

sub begin_run ($self, $lsn) {
    $self->{acks} = delete $self->{ack_next};
    # each of both may come to its end at any time
    $self->expect(exit => 0);
    $self->SUPER::begin_run($lsn) unless $self->{acks};
}

sub spawn ($self, $argv, $env, $err) {
    return $self->{acks} ? Torture::Lane::spawn($self, $argv, $env, $err) : $self->SUPER::spawn($argv, $env, $err);
}

# What is to be acknowledged has been taken in whole: the reader has come to the end.
sub end_run ($self) {
    if ($self->{acks}) {
        $self->{acked}++ if $self->{last_end} eq 'exit 0';
        return;
    }
    $self->SUPER::end_run;
    $self->{ack_next} = 1 if $self->{last_end} eq 'exit 0' && $self->{turn}++ % 3;
}

sub is_up ($self) { return !$self->{acks} && $self->SUPER::is_up }
sub caught_up ($self, $lsn) { return $self->recorded >= $lsn }
sub tidy ($self) { }

1;
