# Run again and again: every change exactly once, whatever takes the output.
use v5.36;
use CdcTest;
use CdcTest::Workload;

my $pg = PgServer->new;
CdcTest::Workload::create($pg, 'shop');
my $dir = scratch();

# The arguments of a run with a slot and state file of that name.
sub args ($name, @more) {
    return [-S => $name, '-m' => 'never', '--state' => "$dir/$name.json", @more];
}

sub run ($name, $stdout, @more) {
    return Cdc->run(server => $pg, db => 'shop', stdout => $stdout, args => args($name, @more));
}

sub saved ($name) { return JSON::PP->new->decode(slurp("$dir/$name.json")) }

# The tables are used by all, the slots see the same changes: each way of output is judged by itself.
my @ways = (
    ['appended', sub ($n) { return (">>$dir/appended.out") }],
    ['named', sub ($n) { return ('null', '-f', "$dir/named.out") }],
    ['piped', sub ($n) { return ('pipe') }],
    ['fresh', sub ($n) { return (">$dir/fresh.$n") }],
);
my %oracle = map { $_->[0] => CdcTest::Workload::oracle() } @ways;
run($_->[0], 'null', '-E', 'now')->exited(0, "$_->[0]: the slot is created") for @ways;
ok(!saved('named')->{output}, 'no part of a file is on record without one');

# ---- while others write ----

# The writers go on until there have been enough runs beside them.
my @writers = map { $pg->session('shop') } 1, 2;
my @workers = ([1, 2], [3, 4], [5, 6], [7, 8], [9, 0]);
sub write_on () {
    my $pair = shift @workers or return 0;
    $writers[$_]->send(CdcTest::Workload::work($pair->[$_], 200, 0.008)) for 0, 1;
    return 1;
}
my $active = q(SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CALL work%' AND state = 'active');
my (%runs, %busy_runs);
my $writing = write_on();
for (my $n = 1; $writing; $n++) {
    if (!$pg->sql('shop', $active)) {
        $_->finish for @writers;
        $writing = $n <= 6 && write_on();
    }
    for my $way (@ways) {
        my ($name, $how) = @$way;
        my ($stdout, @more) = $how->($n);
        my $r = run($name, $stdout, '-E', 'now', $n % 2 ? ('-e', 'plain') : (), @more);
        $r->exited(0, "$name: run $n") unless defined $r->exit && $r->exit == 0;
        $runs{$name}++;
        if ($stdout eq 'pipe' || $stdout =~ /\A>[^>]/) {
            my @records = $r->records;
            $busy_runs{$name}++ if @records;
            $oracle{$name}->apply(@records);
        }
    }
}
for my $way (@ways) {
    my ($name, $how) = @$way;
    $oracle{$name}->apply(records(slurp("$dir/$name.out"))) if -e "$dir/$name.out";
    $oracle{$name}->faultless("$name: every change exactly once, in order");
    CdcTest::Workload::compare($oracle{$name}, $pg, 'shop', $name);
    cmp_ok($runs{$name}, '>=', 5, "$name: in several runs");
    cmp_ok($oracle{$name}->transactions, '>=', 200, "$name: of many transactions");
}
cmp_ok($busy_runs{$_}, '>=', 3, "$_: several runs had something to print") for qw(piped fresh);

# ---- what the state file says ----

my $state = saved('named');
my $one_row = sub ($sql) { return $pg->query('shop', $sql)->[0] };
is_deeply([sort keys %$state], [sort qw(cdcdump_state system_identifier timeline database slot plugin publication
    lsn commit_lsn xid commit_time_us phase slot_created snapshot output crc32)], 'members of the state file');
is($state->{cdcdump_state}, 1, 'its version');
is($state->{system_identifier}, $one_row->('SELECT system_identifier FROM pg_control_system()')->[0], 'system');
is($state->{timeline}, 1, 'timeline');
is(join(',', @$state{qw(database slot plugin publication phase)}), 'shop,named,pgoutput,cdcdump_named,streaming', 'names');
is($state->{output}{path}, "$dir/named.out", 'the path of its output');
is($state->{output}{length}, -s "$dir/named.out", 'the length of the accepted part');
is($state->{output}{inode}, (stat "$dir/named.out")[1], 'the identity of its output');
like($state->{output}{crc32}, qr/\A[0-9a-f]{8}\z/, 'a check value of its output');
is(saved('piped')->{output}, undef, 'a pipe has none of that');
my ($last) = (records(slurp("$dir/appended.out")))[-1];
my $appended = saved('appended');
is(lsn_num($appended->{commit_lsn}), $last->{source} ? $last->{source}{commit_lsn} : lsn_num($last->{commit_lsn}),
    'the last transaction');
cmp_ok(lsn_num($appended->{lsn}), '>', lsn_num($appended->{commit_lsn}), 'the position lies behind it');
is($pg->slot($_)->{confirmed_flush_lsn}, saved($_)->{lsn}, "$_: the server was told of just that")
    for qw(appended named piped);

# ---- an idle slot ----

sub confirmed ($name) { return lsn_num($pg->slot($name)->{confirmed_flush_lsn}) }

# Changes that are of no concern, then: the position passes them without a record.
sub position_follows ($what, $write) {
    my $c = Cdc->start(server => $pg, db => 'shop', args => args('piped', '-t', 'item', '--status-interval', '0.2', '-v'));
    $c->wait_stderr(qr/streaming from/);
    $write->();
    my $end = lsn_num($pg->sql('postgres', 'SELECT pg_current_wal_flush_lsn()'));
    ok(eval { wait_until(sub { confirmed('piped') >= $end }, 15, 'confirmed_flush_lsn') }, "$what: the slot follows")
        or diag($c->stderr);
    cmp_ok(lsn_num(saved('piped')->{lsn}), '>=', $end, "$what: so does the state file");
    my $r = $c->stop;
    $r->exited(0, "$what: stopped");
    is($r->out, '', "$what: nothing was printed");
}

$pg->create_db('other');
$pg->sql('other', 'CREATE TABLE t (a int)');
position_follows('another database', sub { $pg->sql('other', 'INSERT INTO t SELECT generate_series(1, 5000)') });
position_follows('a table that is not captured', sub { $pg->sql('shop', q(INSERT INTO pair SELECT 9, g FROM generate_series(1, 1000) g)) });
is(run('piped', 'pipe', '-t', 'item', '-E', 'now')->out, '', 'a run after that has nothing');

# ---- transactions that overlap ----

$pg->sql('shop', 'CREATE TABLE o (id int PRIMARY KEY, who text)');
run('overlap', 'pipe', '-E', 'now')->exited(0, 'a slot for transactions that overlap');
my $overlap = Oracle->new(keys => { 'public.o' => ['id'] });
my ($id, %of) = (0);
my $insert = sub ($session, $who, $n) {
    $id += $n;
    $session->sql("INSERT INTO o SELECT g, '$who' FROM generate_series(" . ($id - $n + 1) . ", $id) g");
};
my ($long, $short) = map { $pg->session('shop') } 1, 2;
for my $round (1 .. 6) {
    $long->sql('BEGIN');
    $insert->($long, "long $round", 20);
    for (1 .. $round) { $insert->($short, "short $round", 1) }
    # The commit is the last thing in the WAL, so that its end is where the next record begins.
    my $r = run('overlap', 'pipe', '-E', 'now');
    my @records = $r->records;
    is(scalar(@records), $round, "round $round: the short ones come while the long one is open");
    $overlap->apply(@records);
    cmp_ok(lsn_num(saved('overlap')->{lsn}), '>=', $records[-1]{source}{commit_lsn}, "round $round: and are on record");
    $insert->($long, "long $round", 10);
    $long->sql('COMMIT');
    @records = run('overlap', 'pipe', '-E', 'now')->records;
    is(scalar(@records), 30, "round $round: after a restart all of the long one");
    is(join(',', map { $_->{source}{tx_seq} } @records), join(',', 1 .. 30), "round $round: from its first change on");
    $overlap->apply(@records);
}
$overlap->faultless('overlapping transactions');
$overlap->compare($pg, 'shop', 'public.o');

# A commit record that begins exactly where the one before it ended: the position that is on record
# is the LSN of a commit that is still to come.
my $equal = 0;
for my $n (1 .. 5) {
    $long->sql('BEGIN');
    $insert->($long, 'later', 1);
    $insert->($short, 'first', 1);
    my @first = run('overlap', 'pipe', '-E', 'now')->records;
    my $stands = lsn_num(saved('overlap')->{lsn});
    $long->sql('COMMIT');
    my @second = run('overlap', 'pipe', '-E', 'now')->records;
    is(join(',', map { $_->{after}{who} } @first, @second), 'first,later', "back to back: one by one ($n)");
    $equal++ if @second && $stands == $second[0]{source}{commit_lsn};
}
ok($equal, 'back to back: the position was the LSN of the next commit record');

# ---- prepared transactions ----

$long->sql('BEGIN');
$insert->($long, 'prepared', 3);
$long->sql(q(PREPARE TRANSACTION 'p1'));
$insert->($short, 'between', 1);
my @records = run('overlap', 'pipe', '-E', 'now')->records;
is(join(',', map { $_->{after}{who} } @records), 'between', 'a prepared transaction has not happened yet');
$pg->restart;
is(run('overlap', 'pipe', '-E', 'now')->out, '', 'nor after a restart');
$pg->sql('shop', q(COMMIT PREPARED 'p1'));
@records = run('overlap', 'pipe', '-E', 'now')->records;
is(join(',', map { $_->{after}{who} } @records), 'prepared,prepared,prepared', 'committed, it comes whole');
$pg->sql('shop', q(BEGIN; INSERT INTO o VALUES (0, 'undone'); PREPARE TRANSACTION 'p2'));
is(run('overlap', 'pipe', '-E', 'now')->out, '', 'prepared again');
$pg->sql('shop', q(ROLLBACK PREPARED 'p2'));
is(run('overlap', 'pipe', '-E', 'now')->out, '', 'rolled back, it never comes');

# ---- a commit that is not flushed yet ----

for my $n (1 .. 3) {
    $pg->sql('shop', "SET synchronous_commit = off; INSERT INTO o VALUES (-$n, 'asynchronous')");
    @records = run('overlap', 'pipe', '-E', 'now')->records;
    is(join(',', map { $_->{after}{id} } @records), -$n, "an asynchronous commit right before -E now is there ($n)");
}

done_testing;
