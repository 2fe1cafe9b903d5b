# The harness itself: every other test believes what it says.
use v5.36;
use utf8;
use CdcTest;

# ---- records ----

my ($big) = records(qq({"a":9223372036854775807,"b":-9223372036854775808,"c":18446744073709551615,"d":1e3,"e":"é"}\n) =~ s/é/\xc3\xa9/r);
is("$big->{a}", '9223372036854775807', 'the greatest int8 keeps its digits');
is("$big->{b}", '-9223372036854775808', 'the least int8 keeps its digits');
is("$big->{c}", '18446744073709551615', 'so does more than an int8');
is($big->{e}, 'é', 'strings are characters');
throws(sub { records("{}\n{\n") }, qr/line 2 is not JSON/, 'a line that is not JSON is refused');
throws(sub { records("{}\n\n{}\n") }, qr/line 2 is not JSON/, 'an empty line is refused');
throws(sub { records("{}\n{}") }, qr/no newline/, 'a torn last line is refused');
is(scalar(records("{}\n{", torn => 1)), 1, 'a torn last line is left out when asked to');
is(scalar(() = records('')), 0, 'no bytes, no records');

is(lsn_num('1/16B3748'), 4_318_771_016, 'LSN to number');
is(lsn_text(4_318_771_016), '1/16B3748', 'number to LSN');
throws(sub { lsn_num('x') }, qr/not an LSN/, 'nonsense is no LSN');

# ---- processes ----

{
    local $Cdc::BINARY = '/bin/sh';    # what is tested here is the watching, not cdcdump
    my $r = Cdc->run(args => ['-c', 'echo out; echo err >&2; exit 3']);
    $r->exited(3, 'exit status');
    is($r->out, "out\n", 'standard output');
    is($r->err, "err\n", 'standard error');
    Cdc->run(args => ['-c', 'kill -9 $$'])->signaled('KILL', 'ending signal');

    my $file = scratch() . '/f';
    is(Cdc->run(args => ['-c', 'echo 1'], stdout => ">$file")->out, "1\n", 'standard output in a file');
    is(Cdc->run(args => ['-c', 'echo 2'], stdout => ">>$file")->out, "1\n2\n", '>> appends');
    is(Cdc->run(args => ['-c', 'echo 3'], stdout => "<>$file")->out, "3\n2\n", '<> leaves what is there');
    Cdc->run(args => ['-c', 'echo x || exit 4'], stdout => 'closed')->exited(4, 'closed standard output');
    is(Cdc->run(args => ['-c', 'echo $X'], env => { X => 5 })->out, "5\n", 'environment');
    pipe my $from, my $to or die;
    my $with_fd = Cdc->start(args => ['-c', 'read line <&7; echo "got $line"'], fds => { 7 => $from });
    syswrite $to, "ack\n";
    is($with_fd->wait(10)->out, "got ack\n", 'another descriptor');

    my $c = Cdc->start(args => ['-c', 'echo 1; echo 2; echo ready >&2; while sleep 0.05; do echo tick; done']);
    $c->wait_stderr(qr/ready/);
    is_deeply([$c->read_lines(2)], [1, 2], 'lines one by one');
    is(($c->read_until(qr/tick/))[-1], 'tick', 'lines up to a match');
    throws(sub { $c->wait_stderr(qr/never/, 0.1) }, qr/did not say/, 'what is not said in time');
    throws(sub { $c->read_lines(1000, 0.2) }, qr/gave \d+ of 1000 lines/, 'lines that do not come in time');
    ok($c->kill('TERM'), 'a signal hits');
    $c->wait(10)->signaled('TERM', 'and ends it');
    ok(!$c->kill('TERM'), 'a signal to what has ended does not');

    my $full = Cdc->start(args => ['-c', 'head -c 1000000 /dev/zero; echo done >&2']);
    throws(sub { $full->wait_stderr(qr/done/, 0.3) }, qr/did not say/, 'a pipe nobody reads fills up');
    is(length $full->wait(10)->out, 1_000_000, 'waiting drains it');

    my $cut = Cdc->start(args => ['-c', 'while echo y; do :; done']);
    $cut->read_lines(1);
    $cut->close_stdout;
    $cut->wait(10)->signaled('PIPE', 'a reader that goes away');
}

# What would fail the test is tried in a test of its own.
sub fails_with ($program, $regex, $name) {
    my $path = scratch() . '/inner.t';
    spew($path, "use v5.36; use CdcTest; \$Cdc::BINARY = '/bin/sh'; $program; ok(1); done_testing;");
    my $r = CdcTest::Process->capture(argv => [$^X, "-I$Cdc::TOP/tests/lib", $path]);
    ok($r->{exit} != 0 && "$r->{out}$r->{err}" =~ $regex, $name) or diag("$r->{exit} $r->{out}$r->{err}");
    return $r;
}

fails_with(q{Cdc->run(args => ['-c', 'sleep 30'], timeout => 0.2)},
    qr/not ok 1 - cdcdump ends within 0.2 s/, 'a timeout fails the test');
fails_with(q{Cdc->run(args => ['-c', 'echo ==1==ERROR: AddressSanitizer: x >&2'])},
    qr/not ok 1 - no report of a sanitizer/, 'a report of ASan fails the test');
fails_with(q{Cdc->run(args => ['-c', 'echo "x.c:1:2: runtime error: y" >&2'])},
    qr/not ok 1 - no report/, 'a report of UBSan fails the test');
fails_with(q{Cdc->start(args => ['-c', 'echo ==1==ERROR: LeakSanitizer: x >&2; echo; sleep 9'])->read_lines(1)},
    qr/# report of a sanitizer/, 'one that nobody waited for, too');
my $skipping = CdcTest::Process->capture(argv => [$^X, "-I$Cdc::TOP/tests/lib", '-e',
    'use CdcTest; SKIP: { skip_without(0, "no moon", 2); ok(0); ok(0) } done_testing']);
ok($skipping->{exit} == 0 && $skipping->{err} =~ /skipped 2: no moon/, 'skipped tests are told');

# ---- the oracle, on records made by hand ----

sub change ($op, $commit, $seq, $old, $new) {
    return { op => $op, before => $old, after => $new,
             source => { schema => 'public', table => 't', txId => 7, commit_lsn => $commit, tx_seq => $seq } };
}

sub row ($id, $name = 'x') { return { id => $id, name => $name } }

sub judge ($name, $expected, $records, %opts) {
    my $oracle = Oracle->new(keys => { 'public.t' => ['id'] }, %opts);
    $oracle->apply(@$records);
    my $said = join '; ', $oracle->problems;
    $expected ? like($said, $expected, $name) : is($said, '', $name);
    return $oracle;
}

my @first = (change('c', 10, 1, undef, row(1)), change('c', 10, 2, undef, row(2)));
my @second = (change('u', 20, 1, undef, row(1, 'y')), change('u', 20, 2, { id => 2 }, row(3)),
    change('d', 20, 3, { id => 1 }, undef));

my $oracle = judge('a faultless stream', undef, [@first, @second]);
is(canonical($oracle->rows('public.t')), '{"3":{"id":3,"name":"x"}}', 'its model');
is(join(' ', map { $oracle->count($_) } qw(c u d t)), '2 2 1 0', 'its counts');
is($oracle->transactions, 2, 'its transactions');
judge('a truncate empties', undef, [@first, change('t', 20, 1, undef, undef), change('c', 20, 2, undef, row(1))]);
judge('snapshot rows have no place in a transaction', undef,
    [change('r', undef, undef, undef, row(1)), change('u', 20, 1, undef, row(1, 'y'))]);
judge('insert of a key that exists', qr/\Afor a key that exists: 1 .op=c/, [@first, change('c', 20, 1, undef, row(1))]);
judge('update of a key that does not', qr/\Afor a key that does not exist: 5 .op=u/, [@first, change('u', 20, 1, undef, row(5))]);
judge('delete of a key that does not', qr/\Afor a key that does not exist: 5 .op=d/, [@first, change('d', 20, 1, { id => 5 }, undef)]);
judge('key change onto a key that exists', qr/\Afor a key that exists: 2 .op=u/, [@first, change('u', 20, 1, { id => 1 }, row(2))]);
judge('an event that comes twice', qr/an event seen twice/, [@first, $first[1]]);
judge('a transaction that comes twice', qr/an event seen twice.*an event seen twice/, [@first, @first]);
judge('an event that is missing', qr/\Atx_seq is not 2/, [@first, @second[0, 2]]);
judge('a first event that is missing', qr/\Atx_seq is not 1/, [$first[1]]);
judge('commit_lsn that goes back', qr/\Acommit_lsn goes back/, [change('c', 30, 1, undef, row(9)), @first]);
judge('a table that it knows nothing of', qr/without a key/, [@first], keys => {});
judge('an event without its place', qr/without its place/, [change('c', 10, undef, undef, row(1))]);

judge('gaps that are allowed', undef, [@first, change('d', 20, 3, { id => 1 }, undef)], allow_gaps => 1);
my $again = judge('transactions that may come again', undef, [@first, $second[0], @first, @second], allow_duplicates => 1);
is($again->duplicates, 3, 'are counted');
is(canonical($again->rows('public.t')), '{"3":{"id":3,"name":"x"}}', 'and applied once');
judge('a new transaction that goes back even so', qr/goes back/,
    [change('c', 30, 1, undef, row(9)), @first], allow_duplicates => 1);

my $toast = judge('an unchanged value that was not sent', undef,
    [@first, change('u', 20, 1, undef, row(1, '__debezium_unavailable_value'))]);
is($toast->rows('public.t')->{1}{name}, 'x', 'keeps its old value');
is($first[0]{after}{name}, 'x', 'records are left as they are');

my $null = judge('xid stands in for commit_lsn', undef,
    [change('c', undef, 1, undef, row(1)), change('c', undef, 2, undef, row(2))]);
my $plain = judge('the plain envelope', undef, [
    { op => 'c', commit_lsn => '0/10', seq => 1, xid => 1, schema => 'public', table => 't', row => row(1) },
    { op => 'u', commit_lsn => '0/10', seq => 2, xid => 1, schema => 'public', table => 't', row => row(2), old => { id => 1 } },
    { op => 'c', commit_lsn => '0/20', seq => 1, xid => 2, schema => 'public', table => 't', row => row(1) },
    { op => 'd', commit_lsn => '0/20', seq => 2, xid => 2, schema => 'public', table => 't', key => { id => 1 } },
]);
is(join(',', keys %{ $plain->rows('public.t') }), '2', 'and its model');

# ---- the server ----

my $pg = PgServer->new(extra_conf => { work_mem => '7MB' });
ok($pg->running, 'a server runs');
is($pg->sql('postgres', 'SHOW work_mem'), '7MB', 'with the settings asked for');
is($pg->sql('postgres', 'SHOW wal_level'), 'logical', 'ready for logical decoding');
ok((stat $pg->data_dir)[4] != 0, 'not as root');
$pg->create_db('shop');
is($pg->sql('shop', 'SELECT 1; SELECT 2'), "1\n2", 'output of SQL');
is_deeply($pg->query('shop', q(SELECT 1, NULL, '', E'a\nb|c' UNION ALL SELECT 2, 'é', 'x', 'y' ORDER BY 1)),
    [[1, undef, '', "a\nb|c"], [2, 'é', 'x', 'y']], 'rows with all that can be in them');
is_deeply($pg->query('shop', 'SELECT 1 WHERE false'), [], 'no rows');
throws(sub { $pg->sql('shop', 'SELECT 1/0') }, qr/division by zero/, 'failing SQL dies');
my ($status, undef, $err) = $pg->try_sql('shop', 'SELECT 1/0');
ok($status != 0 && $err =~ /division/, 'or is told');
is($pg->sql_ok('shop', 'SELECT 5', 'SQL as a test'), 5, 'which returns its output');

my $psql = PgServer::bindir() . '/psql';
for my $to ($pg->connstr('shop'), $pg->connstr('shop', tcp => 1, application_name => "it's"), $pg->uri('shop')) {
    my $r = CdcTest::Process->capture(argv => [$psql, '-XAtqc', 'SELECT current_database()', $to]);
    is($r->{out}, "shop\n", "reached by $to");
}
is(CdcTest::Process->capture(argv => [$psql, '-XAtqc', 'SELECT 3'], env => $pg->env('shop'))->{out}, "3\n",
    'reached through the environment');

my ($s1, $s2) = map { $pg->session('shop') } 1, 2;
$s1->sql('CREATE TABLE t (id int PRIMARY KEY, name text, price numeric(10,2), flag bool, code char(3), f float8, j json, at timestamp)');
$s1->sql('BEGIN');
$s1->sql(q(INSERT INTO t VALUES (1, 'é', 1.50, true, 'a', 0.1, '{"b": 1, "a": [1, null]}', '2026-01-02 03:04:05.5')));
is($s2->sql('SELECT count(*) FROM t'), 0, 'a session holds its transaction open');
$s2->send('ALTER TABLE t ADD CHECK (id > 5)');
$pg->wait_for(sub { $pg->sql('shop', 'SELECT count(*) FROM pg_locks WHERE NOT granted') }, 10, 'a lock');
throws(sub { $s2->finish(0.2) }, qr/did not end within/, 'a statement that is held up');
$s1->sql('COMMIT');
my ($ok, undef, $said) = $s2->finish(10);
ok(!$ok && $said =~ /violated by some row/, 'goes on, and its error is told');
($ok, my $out) = $s2->try('SELECT 4');
ok($ok && $out == 4, 'the session lives on');
like($s2->pid, qr/\A\d+\z/, 'its backend has a number');

$pg->sql('shop', q(SELECT pg_create_logical_replication_slot('s', 'test_decoding')));
is($pg->slot('s')->{plugin}, 'test_decoding', 'a slot as a row');
is($pg->slot('none'), undef, 'no such slot');
ok(!$pg->terminate_slot_user('s'), 'a slot that nobody uses');

# ---- model against table ----

my %at_server = (id => 1, name => 'é', price => '1.50', flag => \1, code => 'a  ', f => 0.1,
    j => { a => [1, undef], b => 1 }, at => '2026-01-02T03:04:05.5');
sub model (%row) {
    my ($decoded) = records(CdcTest::Records::canonical({ %at_server, %row }) =~ s/é/\xc3\xa9/r . "\n");
    return Oracle->new(keys => { 'public.t' => ['id'] })->apply(change('c', 10, 1, undef, $decoded));
}
is_deeply([model()->diff($pg, 'shop', 'public.t')], [], 'the model agrees with the table');
is_deeply([model()->diff($pg, 'shop', 'public.t', columns => 'all')], [], 'in all columns');
is_deeply([model(at => 'x')->diff($pg, 'shop', 'public.t')], [], 'a column that is not asked for');
for my $wrong ([name => 'e'], [name => undef], [price => '1.5'], [flag => \0], [code => 'a'], [f => 0.1000001],
    [j => { a => [1, 0], b => 1 }], [id => 2]) {
    my @diff = model(@$wrong)->diff($pg, 'shop', 'public.t');
    ok(@diff, "a wrong $wrong->[0] is seen");
}
is(scalar(model(at => 'x')->diff($pg, 'shop', 'public.t', columns => ['at'])), 1, 'a named column is seen');
is(scalar(Oracle->new(keys => { 'public.t' => ['id'] })->diff($pg, 'shop', 'public.t')), 1, 'a row that is missing is seen');
model()->compare($pg, 'shop', 'public.t');

$pg->sql('shop', 'CREATE TABLE log (line text); INSERT INTO log VALUES (1), (1), (2)');
my @log = map { my $r = change('c', 10, $_, undef, { line => $_ == 3 ? '2' : '1' }); $r->{source}{table} = 'log'; $r } 1 .. 3;
my $bag = Oracle->new(keys => { 'public.log' => [] })->apply(@log);
is_deeply([$bag->diff($pg, 'shop', 'public.log')], [], 'a table without a key: rows are counted');
$pg->sql('shop', q(DELETE FROM log WHERE ctid = (SELECT min(ctid) FROM log)));
is(scalar($bag->diff($pg, 'shop', 'public.log')), 1, 'one too many is seen');

# ---- stops, crashes, copies ----

my ($mark, $port) = ($pg->log_mark, $pg->port);
$pg->restart;
ok($pg->log_contains(qr/database system is ready/, $mark), 'a restart');
is($pg->port, $port, 'keeps its port');
$mark = $pg->log_mark;
$pg->kill9;
ok(!$pg->running, 'a crash');
$pg->start;
ok($pg->log_contains(qr/not properly shut down/, $mark), 'is one');
is($pg->sql('shop', 'SELECT count(*) FROM t'), 1, 'and loses nothing');

my $system = 'SELECT system_identifier FROM pg_control_system()';
my $standby = PgServer->new(backup_of => $pg, standby => 1);
is($standby->sql('postgres', 'SELECT pg_is_in_recovery()'), 't', 'a standby');
is($standby->sql('postgres', $system), $pg->sql('postgres', $system), 'of the same system');
is($standby->promote->sql('postgres', 'SELECT timeline_id FROM pg_control_checkpoint()'), 2, 'promoted to a new timeline');
my ($standby_dir, $standby_pid) = ($standby->dir, $standby->pid);
undef $standby;
ok(!-e $standby_dir && !kill(0, $standby_pid), 'a server that goes out of scope is gone');

# ---- nothing stays behind ----

sub leaves_nothing ($ending, $signal, $name) {
    my $program = 'use CdcTest; my $pg = PgServer->new; my $c; { local $Cdc::BINARY = "/bin/sleep";'
        . ' $c = Cdc->start(args => [60]) } my $s = $pg->session("postgres"); $s->sql("BEGIN");'
        . ' $| = 1; print join(" ", "#", $pg->dir, $pg->pid, $c->pid), "\n";' . $ending;
    local $Cdc::BINARY = $^X;
    my $tmp = scratch();    # takes what SIGKILL leaves
    chmod 0755, $tmp;       # the server's user has to get through
    my $test = Cdc->start(args => ["-I$Cdc::TOP/tests/lib", '-e', $program], env => { TMPDIR => $tmp });
    my (undef, $dir, @pids) = split ' ', ($test->read_until(qr/\A# /))[-1];
    ok(-d $dir && 2 == kill(0, @pids), "$name: all there before");
    $test->kill($signal) if $signal;
    my $r = $test->wait(30);
    ok(($r->exit // 1) != 0, "$name: not a success");
    my $gone = sub { !grep { kill 0, $_ and slurp("/proc/$_/stat") !~ /\) Z / } @pids };
    ok(eval { wait_until($gone, 10, 'the end of all processes') }, "$name: processes are gone");
    return $dir;
}

ok(!-e leaves_nothing('die "oops\n"', undef, 'death'), 'death: files are gone');
ok(!-e leaves_nothing('sleep 60', 'INT', 'interrupt'), 'interrupt: files are gone');
SKIP: {
    skip_without(CdcTest::Process::find_program('setpriv'), 'setpriv is not there', 4);
    my $dir = leaves_nothing('sleep 60', 'KILL', 'SIGKILL');
    like($dir, qr/cdctest-/, 'SIGKILL: only files stay');
}

done_testing;
