# A fast shutdown of the server is not held up by cdcdump, whatever it is doing, and after it and after
# crashes nothing is missing and, in a file, nothing is there twice.
use v5.36;
use CdcTest;
use CdcTest::Workload;
use POSIX ();
use Time::HiRes qw(sleep time);

# What the server does by itself should take no time, so that only who holds it up does.
my $pg = PgServer->new(extra_conf => { max_wal_size => '4GB', checkpoint_timeout => '1h' });
CdcTest::Workload::create($pg, 'shop');
$pg->create_db('other');
$pg->sql('shop', q(
    CREATE TABLE big (id int PRIMARY KEY, name text);
    CREATE TABLE old (id int PRIMARY KEY, name text);
    INSERT INTO old SELECT g, repeat('o', 100) FROM generate_series(1, 15000) g;
    CREATE PUBLICATION p FOR TABLE item, pair, big;
    CREATE PUBLICATION o FOR TABLE old));
my $dir = scratch();

sub args ($name, @more) {
    return [-S => $name, '-e' => 'plain', '--publication' => 'p', '--publication-mode' => 'existing', '--state' => "$dir/$name.json",
        '--retry-delay' => '0.2', '-v', @more];
}

sub start ($name, $stdout, @more) {
    return Cdc->start(server => $pg, db => 'shop', stdout => $stdout, args => args($name, @more));
}

sub run ($name, $stdout, @more) { return start($name, $stdout, -E => 'now', @more)->wait }
sub streaming ($c, $n = 1) { $c->wait_stderr(qr/(streaming from.*){$n}/s); return $c }
sub ids ($bytes) { return $bytes =~ /"row":\{"id":(\d+),/g }

# Stops the server and has it back.  $seconds: what cdcdump itself takes to give up, and room for a slow machine.
sub stops ($name, $seconds = 10) {
    my $began = time;
    my $stopped = ok(eval { $pg->stop('fast', $seconds) }, "$name: the server stops at once");
    if (!$stopped) {
        diag(substr $pg->log_text, -1500);
        $pg->stop('immediate');
    }
    note sprintf '%s: %.2f s', $name, time - $began;
    $pg->start;
}

my $last = 0;
sub big ($n) {
    my ($from, $to) = ($last + 1, $last += $n);
    $pg->sql('shop', "INSERT INTO big SELECT g, repeat('x', 200) FROM generate_series($from, $to) g");
}

# All of table big so far, each row once.
sub is_whole ($bytes, $first, $name) {
    my %seen;
    $seen{$_}++ for ids($bytes);
    is(scalar(keys %seen) . ' rows, ' . grep({ $_ > 1 } values %seen) . ' twice', $last - $first + 1 . ' rows, 0 twice', $name);
}

my @file = (-m => 'never', -f => "$dir/file.out");
my @pipe = (-m => 'never');
run('file', 'null', @file)->exited(0, 'a slot');
run('pipe', 'pipe', @pipe)->exited(0, 'another slot');

# ---- idle ----

{
    my $c = streaming(start('file', 'null', @file));
    stops('idle');
    streaming($c, 2);
    $pg->sql('other', 'CREATE TABLE u AS SELECT generate_series(1, 1000)');
    $pg->sql('shop', 'INSERT INTO old VALUES (0)');
    stops('idle, with WAL that nobody captures');
    streaming($c, 3);
    big(3);
    $c->wait_written($pg->wal_lsn);
    stops('idle, all written');
    streaming($c, 4);
    $c->stop->exited(0, 'idle: goes on');
    is_whole(slurp("$dir/file.out"), 1, 'idle: nothing lost, nothing twice');
}

# ---- in the middle of much ----

{
    big(60_000);
    my $c = start('file', 'null', @file);
    wait_until(sub { -s "$dir/file.out" > 500_000 }, 20, 'output');
    stops('a large transaction', 30);
    streaming($c, 2);
    $c->wait_written($pg->wal_lsn);
    $c->stop->exited(0, 'a large transaction: goes on');
    is_whole(slurp("$dir/file.out"), 1, 'a large transaction: nothing lost, nothing twice');
    run('pipe', 'null', @pipe);

    my $oracle = CdcTest::Workload::oracle();
    $c = streaming(start('pipe', ">$dir/busy.out", @pipe));
    for my $n (1 .. 2) {
        my @writers = map { $pg->session('shop') } 1, 2;
        $writers[$_]->send(CdcTest::Workload::work(2 * $n + $_, 20_000)) for 0, 1;
        my $size = -s "$dir/busy.out";
        wait_until(sub { -s "$dir/busy.out" > $size + 50_000 }, 20, 'output');
        stops("busy, time $n", 20);
        streaming($c, $n + 1);
    }
    $c->wait_written($pg->wal_lsn);
    $c->stop->exited(0, 'busy: goes on');
    $oracle->apply(records(slurp("$dir/busy.out")));
    $oracle->faultless('busy: nothing lost, nothing twice');
    CdcTest::Workload::compare($oracle, $pg, 'shop', 'busy');
    run('file', 'null', @file);
}

# ---- a reader that has stopped ----

for my $rows (3, 20_000) {
    my $name = "an unread pipe with $rows rows";
    my $first = $last + 1;
    my $c = streaming(start('pipe', 'pipe', @pipe, '--stall-timeout=1'));
    big($rows);
    my @lines = $c->read_lines(1);
    sleep 0.2;    # the others are on their way
    stops($name, 15);
    like($c->stderr, qr/the output has taken nothing for 1 seconds/, "$name: given up") if $rows > 3;
    push @lines, $c->read_lines($rows - 1);
    is(join(' ', map { ids($_) } @lines), join(' ', $first .. $last), "$name: all of it comes, once");
    $c->wait_written($pg->wal_lsn, 30);
    $c->stop->exited(0, "$name: goes on");
    is(run('pipe', 'pipe', @pipe)->out, '', "$name: and nothing comes again");
}

# ---- nobody accepts ----

my %without = (reply => ['--ack-mode=reply', "--ack-file=$dir/acks"], deferred => ['--ack-mode=deferred']);
POSIX::mkfifo("$dir/acks", 0600) or die "mkfifo: $!";
for my $how (sort keys %without) {
    my $first = $last + 1;
    my $c = streaming(start($how, 'pipe', @pipe, '--stall-timeout=1', @{ $without{$how} }));
    big(40);
    $c->read_until(qr/"id":$last,/);
    stops("ack-mode $how");
    big(2);
    $c->read_until(qr/"id":$last,/);
    $c->kill('KILL');
    is_whole($c->wait->out, $first, "ack-mode $how: goes on without a repetition");
    is_whole(run($how, 'pipe', @pipe)->out, $first, "ack-mode $how: the next run gives what was not accepted");
}

{
    my $first = $last + 1;
    my $command = "cat >> $dir/batches; until test -e $dir/go; do sleep 0.05; done";
    my $c = streaming(start('exec', 'pipe', @pipe, '--stall-timeout=1', '--exec', $command, '--batch-rows=10'));
    big(40);
    wait_until(sub { -s "$dir/batches" }, 20, 'a batch');
    stops('a command that takes its time');
    big(2);
    spew("$dir/go", '');
    wait_until(sub { slurp("$dir/batches") =~ /"id":$last,/ }, 30, 'what comes after it');
    $c->stop->exited(0, 'a command that takes its time: goes on');
    is_whole(slurp("$dir/batches"), $first, 'a command that takes its time: nothing lost, nothing twice');
}
$pg->sql('shop', "SELECT pg_drop_replication_slot('$_')") for qw(reply deferred exec);

# ---- rows of tables ----

for my $how (qw(consistent incremental)) {
    my $name = "a snapshot, $how";
    my @rows = (-m => 'initial', "--snapshot=$how", $how eq 'incremental' ? '--chunk-size=500' : (), '--publication' => 'o', '-t' => 'old');
    my $c = start("rows_$how", 'pipe', @rows, '--stall-timeout=1');
    $c->read_lines(1);
    stops($name, 15);
    if ($how eq 'incremental') {
        my $oracle = Oracle->new(keys => { 'public.old' => ['id'] }, allow_duplicates => 1);
        $pg->sql('shop', 'INSERT INTO old VALUES (70000)');
        $c->read_until(qr/"id":70000,/, 60);
        $c->wait_written($pg->wal_lsn, 30);
        my $r = $c->stop;
        $r->exited(0, "$name: goes on");
        $oracle->apply($r->records)->faultless("$name: the records are right");
        $oracle->compare($pg, 'shop', 'public.old', name => "$name: all rows");
    } else {
        my $r = $c->wait(30);
        $r->exited(3, "$name: its rows cannot go on");
        my $again = run("rows_$how", ">$dir/rows.out", @rows);
        $again->exited(0, "$name: another run takes them anew");
        my $oracle = Oracle->new(keys => { 'public.old' => ['id'] });
        $oracle->apply($again->records)->faultless("$name: the records are right");
        $oracle->compare($pg, 'shop', 'public.old', name => "$name: all rows");
    }
    $pg->sql('shop', "SELECT pg_drop_replication_slot('rows_$how')");
}

# ---- a slot that is being made ----

{
    my $open = $pg->session('shop');
    $open->sql(q(BEGIN; INSERT INTO pair VALUES (1, 'open')));
    my $c = start('new', 'null', -m => 'never');
    wait_until(sub { $pg->slot('new') }, 10, 'the slot');
    stops('a slot that is being made');
    $c->wait(20)->exited(3, 'a slot that is being made: ends');
}

# ---- again and again, and crashes ----

{
    my $c = streaming(start('file', 'null', @file));
    my ($regressed, $n) = (0, 0);
    for my $how ('fast', 'fast', 'kill', 'immediate', 'kill') {
        big(500);
        $c->wait_written($pg->wal_lsn);
        wait_until(sub { lsn_num($pg->slot('file')->{confirmed_flush_lsn}) >= lsn_num($pg->wal_lsn) }, 20, 'the acknowledgment');
        my $confirmed = lsn_num($pg->slot('file')->{confirmed_flush_lsn});
        my $writer = $pg->session('shop');
        $writer->send(CdcTest::Workload::work(6, 20_000));
        sleep 0.05;
        $n++;
        $c->kill('STOP') if $how ne 'fast';    # or it would have moved the slot on before it is looked at
        if   ($how eq 'kill')      { $pg->kill9->start }
        elsif ($how eq 'immediate') { $pg->restart('immediate') }
        else                        { stops("restart $n") }
        if ($how ne 'fast') {
            $regressed++ if lsn_num($pg->slot('file')->{confirmed_flush_lsn}) < $confirmed;
            $c->kill('CONT');
        }
        streaming($c, $n + 1);
    }
    cmp_ok($regressed, '>', 0, "crashes: the slot had forgotten $regressed acknowledgments");
    $c->wait_written($pg->wal_lsn, 30);
    $c->stop->exited(0, 'crashes: goes on');
    is_whole(join('', grep { /"table":"big"/ } split /(?<=\n)/, slurp("$dir/file.out")), 1, 'crashes: nothing lost, nothing twice');
}

done_testing;
