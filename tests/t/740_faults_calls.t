# A fault at each call of a run in turn that has to do with output, state, lock or server: kill -9 before and
# after it, and an error of it.  Nothing is ever acknowledged beyond what is safe, and the next run puts it
# right.
#
# -f FILE from its beginning is done at every call; of the other kinds of output a sample.
# CDCTEST_ALL_CALLS=1: all of them.  CDCTEST_SEED=N makes the same choices again; the seed is printed.
use v5.36;
use CdcTest;
use CdcTest::Faults;
use CdcTest::Files;
use List::Util qw(max min shuffle);
use POSIX ();
use Time::HiRes qw(time);

my $seed = $ENV{CDCTEST_SEED} // (time * 1000) % 1_000_000;
srand $seed;
note "seed $seed";
END { diag("seed $seed") if defined $seed && !Test::More->builder->is_passing }

skip_all_without(!CdcTest::Faults::why_not(), CdcTest::Faults::why_not());

my $pg = PgServer->new;
my $began = time;
sub lap ($what) { note sprintf '%s: %.1f s', $what, time - $began; $began = time }

# ---- a backlog, and slots that stand before it ----

$pg->create_db('shop');
$pg->sql('shop', q(CREATE TABLE t (id int PRIMARY KEY, v text);
    CREATE PUBLICATION p FOR TABLE t; SELECT pg_create_logical_replication_slot('begin', 'pgoutput')));
my @ends = map {
    $pg->sql('shop', "INSERT INTO t SELECT g, repeat('x', 100) FROM generate_series($_ * 10, $_ * 10 + 3) g");
    $pg->sql('shop', 'SELECT pg_current_wal_insert_lsn()');
} 1 .. 5;
my ($middle, $end) = @ends[1, 4];
my $session = $pg->session('shop');

# Right after a kill the server has not noticed yet.
sub renew_slot ($name, $from) {
    wait_until(sub { ($session->try("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '$name'"))[0] },
        30, "slot $name to be free");
    $session->sql("SELECT pg_copy_logical_replication_slot('$from', '$name')");
}
sub confirmed () { return lsn_num($session->sql(q(SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = 's'))) }

# ---- runs ----

my $faults = CdcTest::Faults->new;
my $dir = scratch();    # what a run writes: all is in here
my $kept = scratch();

my %how = (
    file   => { args => ['-f', "$dir/out"] },
    stdout => { stdout => ">>$dir/out" },
    files  => { args => ['-f', "$dir/{table}-{lsn}.ndjson", '--rotate' => '1kB'] },
    pipe   => { stdout => 'pipe' },
);

sub run ($how, $until = $end, %more) {
    return Cdc->run(server => $pg, db => 'shop', stdout => $how->{stdout} // 'null', %more,
        args => [-S => 's', '-m' => 'never', '--publication' => 'p', '--publication-mode' => 'existing', -e => 'plain',
            '--state' => "$dir/s.json", '--retry-delay' => '0.01', -E => $until, @{ $how->{args} // [] }]);
}

sub faulty ($how) { return run($how, $end, env => $faults->env) }

# [commit_lsn, tx_seq, line]
sub events ($bytes) {
    return map { /"commit_lsn":"([^"]+)","seq":(\d+),/ or die "no place in: $_"; [lsn_num($1), $2, $_] } $bytes =~ /^.*\n/mg;
}
sub in_order (@events) { return sort { $a->[0] <=> $b->[0] || $a->[1] <=> $b->[1] } @events }

my %want;    # of a whole backlog
for my $name (qw(file files)) {
    renew_slot('s', 'begin');
    run($how{$name})->exited(0, "$name: an undisturbed run");
    $want{$name} = [in_order(map { events(slurp("$dir/$_")) } grep { !/^s\.json/ } complete($dir))];
    is(scalar @{ $want{$name} }, 20, "$name: has all changes");
    unlink glob "$dir/*";
}
my @want = @{ $want{file} };
is(join('', map { $_->[2] } @{ $want{files} }), join('', map { $_->[2] } @want), 'the same ones');

# ---- where a run begins ----

# What is in the folder, to be put back as it was: the same files, too.
sub keep ($name) {
    mkdir "$kept/$name";
    my %files;
    for my $file (files($dir)) {
        next if $file =~ /\.lock\z/;
        link "$dir/$file", "$kept/$name/$file" or die "link: $!";
        $files{$file} = slurp("$dir/$file");
    }
    return { from => "$kept/$name", files => \%files };
}

sub put_back ($kept) {
    unlink map { "$dir/$_" } files($dir);
    for my $file (keys %{ $kept->{files} // {} }) {
        link "$kept->{from}/$file", "$dir/$file" or die "link: $!";
        spew("$dir/$file", $kept->{files}{$file});
    }
}

# A run that went on from an earlier one and was killed with its output written, but not on record.
sub prepare_resumed ($name) {
    my $how = $how{$name};
    put_back({});
    renew_slot('s', 'begin');
    run($how, $middle)->exited(0, "$name, resumed: as far as the middle");
    renew_slot("after_$name", 's');
    $faults->clear;
    my $rule = $faults->arm(call => 'fsync', path => 's.json.tmp', nth => 50, watch => 1);
    my @fdatasync = (call => 'fdatasync', path => 'out', kill => 'after');
    @fdatasync = (call => 'rename', path => '.ndjson', nth => 2, kill => 'after') if $name eq 'files';
    $rule = $faults->arm(@fdatasync);
    faulty($how)->signaled('KILL', "$name, resumed: killed");
    is($faults->fired($rule), 1, "$name, resumed: where it should be");
    return { how => $how, slot => "after_$name", kept => keep($name) };
}

my %scenario = map { $_ => { how => $how{$_}, slot => 'begin', kept => {} } } keys %how;
$scenario{"$_ resumed"} = prepare_resumed($_) for qw(file files);

# ---- what is right after a fault ----

sub saved () { return -e "$dir/s.json" ? JSON::PP->new->decode(slurp("$dir/s.json")) : undef }

# What the state file says has been accepted, as it is in the output.
sub accepted_bytes ($state, $r) {
    return $r->out if $r->{stdout_is_pipe};
    my @parts = map { [$_->{path}, $_->{length}] } $state->{output} // ();
    for my $file (@{ $state->{files} // [] }) {
        my $path = -e $file->{path} ? $file->{path} : "$file->{path}.partial";
        push @parts, [$path, $file->{length}] if $file->{length} > 0;
    }
    my %named = map { $_->[0] => 1 } @parts;
    my @complete = grep { !$named{$_} } map { "$dir/$_" } grep { /\.ndjson\z/ } files($dir);
    my @wrong = grep { !-e $_->[0] || -s _ < $_->[1] } @parts;
    die "the state file speaks of more than there is: @{ $wrong[0] }\n" if @wrong;
    return join '', (map { substr slurp($_->[0]), 0, $_->[1] } @parts), map { slurp($_) } @complete;
}

# Between the fault and the next run.
sub wrong_after_fault ($how, $r, $before) {
    my $state = saved();
    my $confirmed = confirmed();
    return $confirmed == $before ? () : 'acknowledged without a state file' unless $state;
    my @wrong;
    push @wrong, 'the slot is ahead of the state file' if $confirmed > lsn_num($state->{lsn});
    my $bytes = ($how->{stdout} // '') eq 'pipe' ? $r->out : eval { accepted_bytes($state, $r) };
    return (@wrong, $@) unless defined $bytes;
    my %there = map { $_->[2] => 1 } events($bytes);
    push @wrong, 'the state file speaks of changes that are not there'
        if grep { $_->[0] < lsn_num($state->{lsn}) && !$there{ $_->[2] } } $how->{want} ? @{ $how->{want} } : @want;
    return @wrong;
}

# After the run that puts it right; of a pipe $first is what came before it.
sub wrong_in_the_end ($how, $first, $position, $last) {
    my @wrong;
    push @wrong, 'then: ' . $last->describe . ' ' . $last->err unless defined $last->exit && $last->exit == 0;
    push @wrong, 'then says: ' . $last->err if $last->err =~ /error|warning/;
    push @wrong, 'left: ' . join ' ', grep { /partial|tmp|lock/ } files($dir) if grep { /partial|tmp|lock/ } files($dir);
    my @have;
    if (($how->{stdout} // '') eq 'pipe') {
        my @again = events($last->out);
        push @wrong, 'what is on record comes again' if grep { $_->[0] < $position } @again;
        push @wrong, 'it begins within a transaction' if @again && $again[0][1] != 1;
        my %seen;
        @have = grep { !$seen{ $_->[2] }++ } events($first), @again;
    } else {
        my @files = grep { !/^s\.json/ } files($dir);
        @have = map { events(slurp("$dir/$_")) } @files;
        @have = in_order(@have) if @files > 1;
    }
    my $have = join '', map { $_->[2] } @have;
    push @wrong, 'has ' . join ' ', map { lsn_text($_->[0]) . ",$_->[1]" } @have if $have ne join '', map { $_->[2] } @want;
    return @wrong;
}

# ---- errors ----

my %natural = (
    write => [qw(ENOSPC EIO EDQUOT)], fsync => [qw(EIO ENOSPC)], fdatasync => [qw(EIO ENOSPC EDQUOT)],
    rename => [qw(EIO ENOSPC EACCES)], open => [qw(EIO ENOSPC EMFILE)], mkdir => [qw(ENOSPC EIO EACCES)],
);

sub strerror ($error) { return POSIX::strerror(POSIX->can($error) ? POSIX->can($error)->() : Errno->can($error)->()) }

# How a run may end whose call to that path has failed.
sub allowed_exits ($call, $path, $flags) {
    return (2, 3, 5) if $path =~ /\.lock/ && $call =~ /\A(open|fcntl)\z/;
    return (0) if $path =~ /\.lock/;
    return (0) if $call eq 'close' && $path !~ /tmp\z/;    # nothing depends on it
    return (2) if $path =~ m{/s\.json\z};    # what it says cannot be read
    return (0, 5) if $call eq 'pread' || $call eq 'open' && !($flags & 3) && $path ne $dir;    # cannot be read back
    return (0, 5) if $call =~ /\A(stat|access)\z/;
    return (5);
}

sub wrong_with_error ($r, $error, $call, $path, $flags) {
    return 'was ' . $r->describe unless defined $r->exit;
    my @allowed = allowed_exits($call, $path, $flags);
    my @wrong;
    push @wrong, 'exit ' . $r->exit . ", not @allowed" unless grep { $_ == $r->exit } @allowed;
    my @said = $r->err =~ /^(cdcdump: error: .*)/mg;
    return (@wrong, @said ? "says: @said" : ()) if $r->exit == 0;
    push @wrong, 'says ' . @said . ' errors: ' . $r->err if @said != 1;
    my $cause = strerror($error);
    push @wrong, "does not say once why ($cause): " . $r->err if (() = $r->err =~ /\Q$cause\E/g) != 1;
    my $name = $path =~ m{/s\.json} ? 's.json' : $path =~ m{/([^/]*?)(?:\.partial)?\z} && $1;
    push @wrong, "does not name $name: " . $r->err
        unless $path eq $dir || $r->err =~ /\Q$name\E/ || $r->err =~ /standard output/ && $path =~ m{/out\z};
    return @wrong;
}

# ---- trials ----

# A fault at the nth of those calls; () when the run did not come to it.
sub trial ($scenario, $n, $what, @calls) {
    my $s = $scenario{$scenario};
    put_back($s->{kept});
    renew_slot('s', $s->{slot});
    my $before = confirmed();
    $faults->clear;
    $faults->trace(1) if $what eq 'error';
    my $error;
    my @fault = $what =~ /\Akill (\w+)/ ? (kill => $1) : ();
    if (!@fault) {
        # which call it will be is only known when it is there: so the error is chosen by what it is then
        state %turn;
        my ($call) = $s->{calls}[$n - 1] // 'write';
        my $errors = $natural{$call} // ['EIO'];
        $error = $errors->[$turn{$call}++ % @$errors];
        @fault = (error => $error);
    }
    my $rule = $faults->arm(@calls, nth => $n, @fault);
    my $r = faulty($s->{how});
    my $fired = $faults->fired($rule);
    my ($call, $path) = $faults->fired_at($rule);
    my ($entry) = grep { $_->{rule} } $faults->calls;
    my @wrong;
    if (!$fired) {
        push @wrong, 'no fault, and ' . $r->describe . $r->err if !defined $r->exit || $r->exit;
    } elsif ($error) {
        @wrong = wrong_with_error($r, $error, $call, $path, $entry->{flags});
    } elsif (($r->signal // 0) != 9) {
        push @wrong, 'not killed: ' . $r->describe;
    }
    push @wrong, wrong_after_fault($s->{how}, $r, $before);
    my $state = saved();
    my $last = run($s->{how});
    push @wrong, wrong_in_the_end($s->{how}, $r->out, $state ? lsn_num($state->{lsn}) : 0, $last);
    $path =~ s{\A\Q$dir\E/?}{};
    my $where = "$scenario: $what " . ($error // '') . " at $n" . ($fired ? ", $call of $path" : '');
    return ($fired, map { "$where: $_" } @wrong);
}

my $files = [call => 'any', path => $dir];
my $sockets = [call => 'any', path => 'socket:'];

# Of an undisturbed run, which calls there are.
sub list_calls ($scenario, $calls) {
    my $s = $scenario{$scenario};
    put_back($s->{kept});
    renew_slot('s', $s->{slot});
    $faults->clear;
    $faults->trace(1);
    my %calls = @$calls;
    faulty($s->{how});
    my @list = grep { index("$_->{path}\0$_->{path2}", $calls{path}) >= 0 } $faults->calls;
    return grep { $calls{call} eq 'any' || $_ eq $calls{call} } map { $_->{call} } @list;
}

# A fault at call 1, 2, 3, … until a run sees none: or at so many of them.
sub sweep ($scenario, $what, $calls, $sample = undef) {
    my @list = list_calls($scenario, $calls);
    $scenario{$scenario}{calls} = \@list;
    my $whole = !$sample || $ENV{CDCTEST_ALL_CALLS} || $sample >= @list;
    my @at = $whole ? (1 .. @list + 200) : sort { $a <=> $b } (shuffle(1 .. @list))[0 .. $sample - 1];
    my ($fired, $last, @wrong) = (0, 0);
    for my $n (@at) {
        my ($hit, @complaints) = trial($scenario, $n, $what, @$calls);
        push @wrong, @complaints;
        $fired++ if $hit;
        $last = !$hit;
        # the server's pieces come as they come: one call more or less is not the end
        last if $whole && !$hit && ($n > @list || $calls != $sockets);
    }
    is(join("\n", @wrong), '', "$scenario, $what: all is right");
    my $name = "$scenario, $what: faults";
    if ($whole) {
        ok($last, "$scenario, $what: until there was no fault any more");
        cmp_ok($fired, '>=', @list * 0.5, $name);
    } else {
        cmp_ok($fired, '>=', $sample * 0.5, $name);
    }
    lap("$scenario, $what, " . ($calls == $sockets ? 'server' : 'files') . ": $fired of " . @list);
}

sweep('file', 'kill before', $files);
sweep('file', 'error', $files);
sweep('file', 'kill before', $sockets);
sweep('file', 'kill after', $files, 10);
sweep('file', 'kill torn', [call => 'write', path => $dir]);
sweep('file resumed', 'kill before', $files, 15);
sweep('file resumed', 'error', $files, 15);
sweep('stdout', 'kill before', $files, 8);
sweep('stdout', 'error', $files, 12);
sweep('files', 'kill before', $files, 15);
sweep('files', 'kill after', $files, 8);
sweep('files', 'error', $files, 25);
sweep('files resumed', 'kill before', $files, 12);
sweep('files resumed', 'error', $files, 15);
sweep('pipe', 'kill before', [call => 'write', path => 'pipe:']);
sweep('pipe', 'kill after', $files, 10);
sweep('pipe', 'error', $files, 15);
sweep('pipe', 'kill before', $sockets, 10);
done_testing;
