# Runs that read rows: where they end, what the next one makes of one that ended too early, what
# rows look like.
use v5.36;
use CdcTest;
use POSIX qw(strftime);
use Time::HiRes qw(sleep time);

my $pg = PgServer->new(extra_conf => { max_connections => 60 });
$pg->create_db('shop');
my $dir = scratch();
my $n = 0;    # t has the rows 1 .. $n

sub sql ($text) { return $pg->sql('shop', $text) }
sub add ($many = 1) { sql('INSERT INTO t SELECT g, repeat(g::text, 3) FROM generate_series(' . ($n + 1) . ', ' . ($n + $many) . ') g'); $n += $many }

sub args ($slot, $mode, @more) { return [-S => $slot, -m => $mode, -t => 't', @more] }
sub start ($slot, $mode, @more) { return Cdc->start(server => $pg, db => 'shop', args => args($slot, $mode, @more)) }
sub run ($slot, $mode, @more) { return start($slot, $mode, @more)->wait(20) }
sub state_of ($slot) { return ('--state', "$dir/$slot.json") }
sub saved ($slot) { return JSON::PP->new->decode(slurp("$dir/$slot.json")) }

sub gives ($r, $want, $name) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $r->exited(0, "$name: status 0");
    is(gist($r), $want, "$name: gives " . ($want || 'nothing'));
    return $r;
}

sub has_slot ($slot, $want, $name) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is(defined $pg->slot($slot) ? 'a slot' : 'no slot', $want ? 'a slot' : 'no slot', $name);
}

sub drop ($slot) {
    wait_until(sub { !($pg->slot($slot) // {})->{active} }, 10, "the end of the slot's user");
    sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '$slot'");
}

# An incremental snapshot then reads a table of whatever size by its index.
sql('CREATE TABLE t (id int PRIMARY KEY, name text); CREATE TABLE other (id int PRIMARY KEY); ALTER DATABASE shop SET enable_sort = off; ALTER DATABASE shop SET jit = off');
add(3);

# ---- a first run that ends too early ----

my $reading = q{state = 'active' AND query LIKE '%COPY (SELECT%TO STDOUT%' AND pid <> pg_backend_pid()};
sub readers () { return sql("SELECT count(*) FROM pg_stat_activity WHERE $reading") }
sub end_readers () { return sql("SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE $reading") }

# Rows come up to $stop, then none for a minute.
sub slow ($stop) { return ('--snapshot-query', "public.t=SELECT id, repeat('x', 2000) AS name FROM t WHERE id < $stop OR pg_sleep(60) IS NULL") }
add(60);

for my $how (['TERM'], ['INT'], ['TERM', '--snapshot=incremental'], ['INT', -f => "$dir/early.out"], ['TERM', '--drop-slot-on-stop']) {
    my ($signal, @more) = @$how;
    my $slot = 'early';
    my $c = start($slot, 'initial', state_of($slot), slow(40), @more, -v => ());
    if ($more[0] && $more[0] eq '-f') { wait_until(sub { -s "$dir/early.out" }, 10, 'rows in the file') }
    else                             { $c->read_lines(10) }
    my $r = $c->stop($signal);
    $r->exited(0, "SIG$signal (@more) while rows are read: status 0");
    has_slot($slot, 0, 'its slot is dropped');
    # left alone they would go on for a minute
    ok(eval { wait_until(sub { readers() == 0 }, 10, 'readers') }, 'the server reads no more');
    end_readers();
    add();
    my $again = run($slot, 'initial', -E => 'now', state_of($slot), grep { $_ ne '--drop-slot-on-stop' } @more);
    my $out = $more[0] && $more[0] eq '-f' ? slurp("$dir/early.out") : $again->out;
    $again->exited(0, 'the next run');
    is(gist($out), "r1..$n", 'gives all rows anew, and no change before them');
    drop($slot);
    unlink glob "$dir/early.*";
}

# A reader that has enough.
for my $slot_there (0, 1) {
    run('head', 'never', -E => 'now')->exited(0, 'a slot') if $slot_there;
    my $shell = CdcTest::Process->capture(timeout => 30, argv => ['/bin/bash', '-c',
        '"$@" | head -1 >/dev/null; echo ${PIPESTATUS[0]}', 'sh', $Cdc::BINARY, '-d', $pg->connstr('shop'),
        @{ args('head', 'initial', state_of('head'), slow(40)) }]);
    is($shell->{out}, 128 + 13 . "\n", '| head -1 ends it by SIGPIPE') or diag($shell->{err});
    end_readers();
    has_slot('head', $slot_there, $slot_there ? 'the slot was there and stays' : 'its slot is dropped');
    add();
    gives(run('head', 'initial', -E => 'now', state_of('head')), "r1..$n", 'the next run begins anew');
    drop('head');
    unlink "$dir/head.json";
}

# A disk that is full: a file that may not grow.
for my $out ('stdout', 'file') {
    my $r = $out eq 'stdout'
        ? Cdc->run(server => $pg, db => 'shop', stdout => '>/dev/full', args => args('full', 'initial', -E => 'now', state_of('full')))
        : Cdc->run(server => $pg, db => 'shop', wrap => ['prlimit', '--fsize=8192', '--'], args => args('full', 'initial', -E => 'now', state_of('full'), -f => "$dir/full.out"));
    $r->exited(5, "a full disk, $out: status 5");
    like($r->err, qr/^cdcdump: error: could not write to .*: (?:No space left on device|File too large)$/m, 'says so');
    has_slot('full', 0, 'its slot is dropped');
    add();
    $r = run('full', 'initial', -E => 'now', state_of('full'), $out eq 'file' ? (-f => "$dir/full.out") : ());
    $r->exited(0, 'when there is room again');
    is(gist($out eq 'file' ? slurp("$dir/full.out") : $r->out), "r1..$n", 'the rows come anew');
    drop('full');
    unlink "$dir/full.json";
}

# ---- bounds ----

{
    gives(run('count', 'initial', '--count=1', state_of('count')), "r1..$n", '--count=1: the snapshot is one unit');
    add();
    gives(run('count', 'initial', '--count=1', state_of('count')), "c$n", 'and a transaction is the next');
    drop('count');
    my ($total, @all) = (0);
    for my $i (1 .. 20) {
        my $r = run('chunks', 'initial', '--count=1', '--snapshot=incremental', '--chunk-size=25', state_of('chunks'));
        my ($first, $last) = (25 * ($i - 1) + 1, $i == 1 ? 25 : 25 * $i);
        $last = $n if $last > $n;
        gives($r, $first == $last ? "r$first" : "r$first..$last", "--count=1, incremental: chunk $i is a unit");
        is(saved('chunks')->{phase}, $last == $n ? 'streaming' : 'snapshot', 'the phase on record');
        last if $last == $n;
    }
    gives(run('chunks', 'initial', '--snapshot=incremental', -E => 'now', state_of('chunks')), '', 'and no row after that');
    drop('chunks');
    gives(run('now_inc', 'initial', '--snapshot=incremental', '--chunk-size=25', -E => 'now', state_of('now_inc')), "r1..$n", '-E now, incremental: all chunks');
    drop('now_inc');

    # The time is over in the middle.
    my @slow = ('--snapshot-query', 'public.t=SELECT * FROM t WHERE id < 10 OR pg_sleep(0.01) IS NOT NULL');
    my $r = gives(run('time', 'initial', '--max-time=0.3', @slow, state_of('time')), "r1..$n", '--max-time over in mid-snapshot: the snapshot is whole');
    cmp_ok($r->seconds, '>', 0.01 * ($n - 10), 'and took its time');
    drop('time');
    unlink "$dir/time.json";
    my $given;
    for my $max (map { 0.3 * $_ } 1 .. 20) {
        $r = run('time', 'initial', "--max-time=$max", '--snapshot=incremental', '--chunk-size=10', @slow, state_of('time'));
        $r->exited(0, '--max-time with chunks');
        last if $given = scalar($r->lines);    # or the time was over before the first chunk
    }
    ok($given > 0 && $given < $n && $given % 10 == 0, 'ends between two') or diag($given);
    gives(run('time', 'initial', -E => 'now', '--snapshot=incremental', '--chunk-size=10', state_of('time')), 'r' . ($given + 1) . "..$n", 'and the next run goes on');
    drop('time');
    $r = gives(run('idle', 'initial', '--idle-exit=0.3', @slow), "r1..$n", '--idle-exit: rows are no idleness');
    drop('idle');
    $r = gives(run('idle', 'initial', '--idle-exit=0.3', '--snapshot=incremental', '--chunk-size=10', @slow), "r1..$n", '--idle-exit, incremental: nor are chunks');
    cmp_ok($r->seconds, '<', 5, 'and then it ends');
    drop('idle');
    my $soon = time + 0.6;
    $r = gives(run('until', 'initial', -E => strftime('%Y-%m-%d %H:%M:%S', gmtime $soon) . sprintf('.%03d+00', 1000 * ($soon - int $soon))), "r1..$n", '-E TIME');
    drop('until');
    gives(run('until', 'initial', -E => 'yesterday'), "r1..$n", '-E with a time that is over: the rows even so');
    drop('until');
    gives(run('until', 'initial', -E => '0/1'), "r1..$n", '-E with an LSN that is over: the rows even so');
    drop('until');
}

# ---- what rows look like ----

sql('CREATE TABLE u (a int, b text, c int, PRIMARY KEY (b, a)); INSERT INTO u VALUES (1, \'x\', 10), (2, \'y\', NULL)');
for my $how ([], ['-j', 3], ['--snapshot=incremental', '--chunk-size=1']) {
    my $incremental = @$how && $how->[0] =~ /incremental/;
    my @tables = (-S => 'shape', -t => 't|u|other', -E => 'now');
    my $rows = sub (@more) { return Cdc->run(server => $pg, db => 'shop', timeout => 20, args => [@tables, -m => 'initial', @$how, @more]) };
    my $changes = sub (@more) { return Cdc->run(server => $pg, db => 'shop', timeout => 20, args => [@tables, -m => 'never', @more]) };
    my $r = $rows->();
    my @records = $r->records;
    is(scalar(@records), $n + 2, "@$how: all rows");
    my %seen;
    $seen{ $_->{source}{snapshot} }++ for @records;
    is(canonical(\%seen), $incremental ? canonical({ incremental => $n + 2 }) : canonical({ true => $n + 1, last => 1 }), 'source.snapshot');
    is($records[-1]{source}{snapshot}, $incremental ? 'incremental' : 'last', 'of the very last row');
    is(scalar(grep { defined $_->{source}{commit_lsn} || defined $_->{source}{tx_seq} || defined $_->{source}{txId} || defined $_->{before} || $_->{op} ne 'r' } @records), 0,
        'no place in a transaction, no old row');
    is(scalar(grep { !exists $_->{source}{commit_lsn} || !exists $_->{source}{tx_seq} || !exists $_->{source}{txId} || !exists $_->{before} } @records), 0, 'which is said by null');
    is(scalar(grep { abs($_->{source}{ts_ms} / 1000 - time) > 60 || $_->{source}{ts_ms} > $_->{ts_ms} } @records), 0, 'times of now');
    like(($r->lines)[-1], qr/\A\{"before":null,"after":\{.*?\},"source":\{"version":"[\d.]+","connector":"postgresql","name":"shop","ts_ms":\d+,"snapshot":"\w+","db":"shop","sequence":"\[null,\\"\d+\\"\]","ts_us":\d+,"ts_ns":\d+,"schema":"public","table":"[tu]","txId":null,"lsn":\d+,"xmin":null,"commit_lsn":null,"tx_seq":null\},"op":"r","ts_ms":\d+,"ts_us":\d+,"ts_ns":\d+\}\z/,
        'the fields in their order');
    add();
    $r = $changes->();
    is(join(' ', map { $_->{source}{snapshot} } $r->records), 'false', 'a change has "false"');
    drop('shape');
    $r = $rows->(-e => 'plain', -K => ' ');
    my ($line) = grep { /"table":"u".*"c":10/ } $r->lines;
    like($line, qr/\A\{"b":"x","a":1\} \{"op":"r","lsn":"[0-9A-F]+\/[0-9A-F]+","commit_lsn":null,"seq":null,"xid":null,"ts":"\d{4}-\d\d-\d\dT[\d:.]+Z","schema":"public","table":"u","key":\{"b":"x","a":1\},"row":\{"a":1,"b":"x","c":10\},"old":null\}\z|\A\{"a":1,"b":"x"\} \{.*"key":\{"a":1,"b":"x"\}.*\z/,
        'the plain envelope, with a key') or diag($line);
    sql("UPDATE u SET c = 11 WHERE a = 1");
    my ($change) = grep { /"op":"u"/ } $changes->(-e => 'plain', -K => ' ')->lines;
    is(($change =~ /\A(.*?) \{"op"/)[0], ($line =~ /\A(.*?) \{"op"/)[0], 'the same key as a change has');
    sql("UPDATE u SET c = 10 WHERE a = 1");
    drop('shape');
    $r = $rows->('--schema-events', '--count=1');
    is(join(' ', sort map { $_->{tableChanges} ? $_->{source}{table} : () } $r->records), $incremental ? ($r->out =~ /"table":"u"/ ? 'u' : 't') : 't u', 'the columns of each table that has rows');
    drop('shape');
    $r = $rows->('--schema-events', '--transactions', '--skip-ops=c');
    my %events;
    for ($r->records) { if ($_->{tableChanges}) { $events{ $_->{source}{table} }++ } elsif (($_->{op} // '') eq 'r') { $events{r}++ } else { $events{else}++ } }
    is(canonical(\%events), canonical({ t => 1, u => 1, r => $n + 2 }), 'columns once for each table, no BEGIN and END for rows; rows are no inserts to skip');
    drop('shape');
}
# Columns are told once over rows and stream.
for my $how ([], ['--snapshot=incremental', '--chunk-size=1']) {
    my $c = start('events', 'initial', '--schema-events', @$how);
    $c->read_until(qr/"id":$n,/);
    add();
    my @lines = $c->read_until(qr/"id":$n,/);
    unlike("@lines", qr/tableChanges/, "@$how: the stream does not tell the columns again");
    sql('ALTER TABLE t ADD COLUMN extra int');
    add();
    @lines = $c->read_until(qr/"id":$n,/);
    is(scalar(grep { /tableChanges/ } @lines), 1, 'but when they change');
    $c->stop('TERM')->exited(0, 'the end');
    drop('events');
    sql('ALTER TABLE t DROP COLUMN extra');
}

done_testing;
