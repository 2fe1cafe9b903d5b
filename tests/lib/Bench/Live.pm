# Bench::Live - what a cdcdump that runs on needs and how far it is behind.
#
#   my $live = Bench::Live->new($pg);     # a database with the table of the mixed workload
#   $live->memory($rows)                  # peak in MiB after a transaction of so many rows
#   $live->latency                        # {p50, p99, max} in ms at $Bench::RATE transactions/s
#   Bench::Live::lag($pg, $rows)          # the same while an incremental snapshot reads so many
#                                         # rows, and then: {during => {...}, after => {...}}
#
# Latency is from the commit of a one-row transaction, which the record tells, to its line here.
# All of them die where the records are not those that were made.
package Bench::Live;
use v5.36;

use List::Util qw(sum0);
use Time::HiRes qw(time);

use Bench qw(progress);
use Bench::Reader;
use Bench::Run;
use Bench::Table;
use Bench::Workload;
use CdcTest qw(scratch spew);
use Cdc;
use CdcTest::Process;
use PgServer;

sub new ($class, $pg, $db = 'bench_live') {
    $pg->create_db($db);
    $pg->sql($db, Bench::Workload::products() . 'CREATE PUBLICATION bench FOR TABLE products');
    return bless { pg => $pg, db => $db }, $class;
}

# Streams what is written from now on to this program.
sub follow ($self) {
    my ($pg, $db) = @$self{qw(pg db)};
    $pg->sql($db, "SELECT pg_create_logical_replication_slot('follow', 'pgoutput')");
    my $run = Cdc->start(server => $pg, db => $db, tcp => 1,
        args => [qw(-S follow -m never), Bench::Reader::publication('pgoutput')]);
    PgServer::wait_until(sub {
        die 'cdcdump failed: ', $run->stderr if !$run->running;
        return $pg->slot('follow')->{active};
    }, 30, 'the slot in use');
    return $run;
}

sub unfollow ($self, $run) {
    my $end = $run->stop;
    die 'cdcdump failed: ', $end->describe, "\n" if ($end->exit // 1) != 0;
    PgServer::wait_until(sub { !$self->{pg}->slot('follow')->{active} }, 30,
        'a slot that nobody uses');
    $self->{pg}->sql($self->{db}, "SELECT pg_drop_replication_slot('follow')");
}

# All of it goes through a pipe.
sub memory ($self, $rows) {
    progress("memory: a transaction of $rows rows");
    my $run = $self->follow;
    $self->{pg}->sql($self->{db}, Bench::Workload::insert(Bench::Workload::series($rows)));
    my $lines = 0;
    while ($lines < $rows) {
        $run->read_some(65536, 60) or die "memory: $lines of $rows records came\n";
        $lines += $run->{out} =~ tr/\n//;
        $run->{out} = '';    # it would be all of it otherwise
    }
    my $peak = Bench::Run::peak($run->pid) // die "memory: no VmHWM in /proc\n";
    $self->unfollow($run);
    return $peak;
}

# Transactions of one row.
sub load ($self, $table, $seconds, $said) {
    my $script = scratch() . '/insert.sql';
    spew($script, Bench::Workload::insert('(SELECT 4711) AS one(i)', $table));
    return CdcTest::Process->spawn(stdout => $said, stderr => $said,
        env => $self->{pg}->env($self->{db}),
        argv => [PgServer::bindir() . '/pgbench', '-n', '-c', 1, '-R', $Bench::RATE, '-T', $seconds,
                 '-f', $script]);
}

sub latency ($self) {
    my $seconds = $Bench::SECONDS;
    progress("latency: $seconds s");
    my $run = $self->follow;
    open my $said, '+>', undef or die "could not open a temporary file: $!\n";
    my $writer = $self->load('products', $seconds, $said);
    my @came;    # [when, piece of the output]; what they say is looked at afterwards
    while (1) {
        my $n = $run->read_some(65536, 0.5);
        last if !$n && !$writer->running;
        next unless $n;
        push @came, [time, $run->{out}];
        $run->{out} = '';
    }
    $self->unfollow($run);
    seek $said, 0, 0;
    my $text = do { local $/; <$said> };
    my ($made) = $text =~ /actually processed: ([0-9]+)/ or die "pgbench: $text";
    my @usec = map { $_->[1] } latencies(@came);
    die "latency: @{[scalar @usec]} records instead of $made\n" if @usec != $made;
    die "latency: only $made transactions in $seconds s\n" if $made < 0.9 * $Bench::RATE * $seconds;
    return percentiles(@usec);
}

# In milliseconds.
sub percentiles (@usec) {
    my @sorted = map { $_ / 1000 } sort { $a <=> $b } @usec;
    return { p50 => $sorted[@sorted * 0.5], p99 => $sorted[@sorted * 0.99], max => $sorted[-1] };
}

# [when it came, latency in microseconds] of each change.  A line is there when its last piece is.
sub latencies (@came) {
    my ($rest, @changes) = '';
    for (@came) {
        my ($at, $piece) = @$_;
        $rest .= $piece;
        while ($rest =~ s/\A(.*)\n//) {
            my $line = $1;
            next if $line =~ /"op":"r"/;
            my ($committed) = $line =~ /"source":\{[^}]*"ts_us":([0-9]+)/
                or die "latency: no source.ts_us in a record\n";
            push @changes, [$at, $at * 1e6 - $committed];
        }
    }
    return @changes;
}

# ---- beside an incremental snapshot ----

# Tables are read in the order of their names: that of the load is through before the big one
# begins, and from then on the stream gives all of its rows.  grep keeps the others away from here.
sub lag ($pg, $rows) {
    my $self = bless { pg => $pg, db => 'bench_lag' }, __PACKAGE__;
    my $count = 'SELECT count(*) FROM beats';
    Bench::Table::create($pg, 'bench_lag', $rows);
    progress('lag beside an incremental snapshot');
    $pg->sql('bench_lag', Bench::Workload::products('beats')
        . 'CREATE PUBLICATION lag FOR TABLE beats, products');
    open my $said, '+>', undef or die "could not open a temporary file: $!\n";
    my $writer = $self->load('beats', 2 * int $Bench::LIMIT, $said);
    PgServer::wait_until(sub { $pg->sql('bench_lag', $count) > 100 }, 30, 'the load');

    pipe my $from, my $to or die "pipe: $!\n";
    pipe my $lines, my $found or die "pipe: $!\n";
    my $grep = CdcTest::Process->spawn(stdin => $from, stdout => $found,
        argv => ['grep', '--line-buffered', '-F', '"table":"beats"']);
    my $run = Cdc->start(server => $pg, db => 'bench_lag', tcp => 1, stdout => $to,
        args => [qw(-S follow -m initial --snapshot incremental --publication lag
            --publication-mode existing)]);
    close $_ for $from, $to, $found;

    my @came;
    my $done = watch_lag($run, $lines, \@came);
    $writer->kill_now;
    PgServer::wait_until(sub { !$pg->sql('bench_lag', q(SELECT count(*) FROM pg_stat_activity
        WHERE application_name = 'pgbench')) }, 30, 'the end of the load');
    my $made = $pg->sql('bench_lag', $count);
    my $deadline = time + 30;
    1 while time < $deadline && beats(@came) < $made && take_piece($lines, \@came, 5);
    check_lag($run->stderr, $made, $rows, @came);
    $self->unfollow($run);
    $pg->sql('postgres', 'DROP DATABASE bench_lag');
    return parted($done, latencies(@came));
}

# Until some time after the snapshot's end, which is returned.
sub watch_lag ($run, $lines, $came) {
    my ($started, $done) = time;
    while (!$done || time < $done + $Bench::SECONDS) {
        die 'cdcdump failed: ', $run->stderr if !$run->running;
        die "lag: no end of the snapshot after $Bench::LIMIT s\n"
            if !$done && time > $started + $Bench::LIMIT;
        take_piece($lines, $came, 0.02);
        $done = time if !$done && $run->stderr =~ /^cdcdump: read [0-9,]+ rows/m;
    }
    return $done;
}

# A snapshot of few rows is over before a change comes.
sub parted ($done, @changes) {
    my @during = map { $_->[1] } grep { $_->[0] <= $done } @changes;
    my @after  = map { $_->[1] } grep { $_->[0] > $done } @changes;
    die "lag: no change came after the snapshot\n" if !@after;
    return { during => @during ? percentiles(@during) : undef, after => percentiles(@after) };
}

# False when nothing came in that time, or nothing will any more.
sub take_piece ($fh, $came, $timeout) {
    vec(my $ready = '', fileno $fh, 1) = 1;
    return 0 unless select($ready, undef, undef, $timeout) > 0;
    my $n = sysread $fh, my $piece, 65536;
    push @$came, [time, $piece] if $n;
    return $n;
}

sub beats (@came) { return sum0(map { $_->[1] =~ tr/\n// } @came) }

# Each row of either table once: of the big one, which only cdcdump has seen here, by what it says.
sub check_lag ($said, $made, $rows, @came) {
    my $text = join '', map { $_->[1] } @came;
    my %keys = map { $_ => 1 } $text =~ /"after":\{"product_id":([0-9]+)/g;
    my ($records, $keys) = (beats(@came), scalar keys %keys);
    die "lag: $records records with $keys keys, of $made rows\n"
        if $records != $made || $keys != $made;
    my $read = $rows + (() = $text =~ /"op":"r"/g);
    my ($told) = $said =~ /^cdcdump: read ([0-9,]+) rows/m;
    die "lag: $told rows were read instead of $read\n" if $told =~ tr/,//dr != $read;
}

1;
