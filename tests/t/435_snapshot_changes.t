# Tables that change while they are read in chunks, or between two runs; keys that chunks are cut
# by; pieces of big tables.
use v5.36;
use CdcTest;
use Time::HiRes qw(sleep);

my $pg = PgServer->new(extra_conf => { max_replication_slots => 60, max_connections => 60 });
my $dir = scratch();
my $db = 'postgres';
my $nslots = 0;

sub sql ($text) { return $pg->sql($db, $text) }
sub new_db ($name, $tables) {
    $pg->create_db($db = $name);
    sql($tables);
}
sub start (@args) { return Cdc->start(server => $pg, db => $db, args => [@args]) }
sub run (@args) { return start(@args)->wait(25) }
sub slot () { return 's' . ++$nslots }
sub state_of ($slot) { return ('--state', "$dir/$slot.json") }
sub saved ($slot) { return JSON::PP->new->decode(slurp("$dir/$slot.json")) }
my @chunks = ('--snapshot=incremental', '--chunk-size=10');

# "r:t:1 c:t:2", sorted by table and id
sub given ($r) {
    return join ' ', sort map { defined $_->{op} ? "$_->{op}:$_->{source}{table}:" . (($_->{after} // $_->{before} // {})->{id} // '') : () } ref $r ? $r->records : records($r);
}

# ---- tables that come and go between two runs ----

for my $how ([], [@chunks]) {
    my $name = @$how ? 'incremental' : 'consistent';
    new_db("coming_$name", q(CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY);
        INSERT INTO a VALUES (1); INSERT INTO b VALUES (1); INSERT INTO c VALUES (1)));
    my $slot = slot();
    my @args = (-S => $slot, -E => 'now', state_of($slot), @$how);
    is(given(run(@args, -t => '[ab]')), 'r:a:1 r:b:1', "$name: two tables");
    sql('INSERT INTO a VALUES (2); INSERT INTO b VALUES (2); INSERT INTO c VALUES (2)');
    my $r = run(@args, -t => '[ac]');
    $r->exited(0, "$name: then two others");
    is(given($r), 'c:a:2 r:c:1 r:c:2', "$name: the new one is read, the old one goes on");
    like($r->err, qr/^cdcdump: table public\.c is new: reading its rows$/m, "$name: says that one is new");
    like($r->err, qr/^cdcdump: table public\.b is not captured any more$/m, "$name: says that one has gone");
    is(join(' ', sort map { $_->{table} } @{ saved($slot)->{snapshot}{tables} }), 'public.a public.c', "$name: which is on record");
    sql('INSERT INTO a VALUES (3); INSERT INTO b VALUES (3); INSERT INTO c VALUES (3); DELETE FROM b WHERE id = 1; CREATE TABLE d (id int PRIMARY KEY); INSERT INTO d VALUES (1)');
    $r = run(@args, -t => '[abcd]');
    $r->exited(0, "$name: all");
    is(given($r), 'c:a:3 c:c:3 r:b:2 r:b:3 r:d:1', "$name: one that comes back is read again");
    sql('DROP TABLE b; DROP TABLE d; CREATE TABLE d (id int PRIMARY KEY); INSERT INTO d VALUES (7); INSERT INTO a VALUES (4)');
    $r = run(@args, -t => '[abcd]');
    $r->exited(0, "$name: one dropped, one created anew");
    is(given($r), 'c:a:4 r:d:7', "$name: another table of the same name is read");
    like($r->err, qr/table public\.b is not captured any more/, "$name: says so");
    # Modes that read no rows do not read those of a new table, and say nothing of it.
    sql('CREATE TABLE e (id int PRIMARY KEY); INSERT INTO e VALUES (1)');
    $r = run(-S => $slot, -E => 'now', state_of($slot), -m => 'never', -t => '[acde]');
    $r->exited(0, "$name: mode never");
    is(given($r), '', "$name: reads no rows");
}

# ---- columns that change ----

new_db('columns', q(CREATE TABLE t (id int PRIMARY KEY, v text, w int); INSERT INTO t SELECT g, 'v' || g, g FROM generate_series(1, 60) g));
# Into a file: what a pipe's reader got for sure is not known, so more is given there.
sub first_chunks ($slot, $n) {
    my $file = "$dir/$slot.out";
    run(-S => $slot, -t => 't', state_of($slot), @chunks, '--count=' . 10 * $n, -f => $file)->exited(0, "$n chunks");
    is(saved($slot)->{phase}, 'snapshot', 'more are to come');
    return $file;
}
for (
    ['added', q(ALTER TABLE t ADD COLUMN x int DEFAULT 5), q(ALTER TABLE t DROP COLUMN x), 'id v w x'],
    ['dropped', q(ALTER TABLE t DROP COLUMN w), q(ALTER TABLE t ADD COLUMN w int), 'id v'],
    ['renamed', q(ALTER TABLE t RENAME v TO "new v"), q(ALTER TABLE t RENAME "new v" TO v), 'id new v w'],
    ['of another type', q(ALTER TABLE t ALTER v TYPE varchar(99)), q(ALTER TABLE t ALTER v TYPE text), 'id v w'],
) {
    my ($what, $there, $back, $columns) = @$_;
    my $slot = slot();
    my $file = first_chunks($slot, 2);
    sql($there);
    sql('INSERT INTO t (id) VALUES (1000); UPDATE t SET id = 1001 WHERE id = 1000');
    my $r = run(-S => $slot, -t => 't', state_of($slot), @chunks, -E => 'now', -f => $file);
    $r->exited(0, "a column is $what between two runs: the next one goes on");
    my $oracle = Oracle->new(keys => { 'public.t' => ['id'] }, allow_gaps => 1);
    $oracle->apply_file($file);
    $oracle->faultless('each row once');
    is(scalar(keys %{ $oracle->rows('public.t') }), 61, 'all rows');
    my ($late) = grep { $_->{op} eq 'r' && $_->{after}{id} == 60 } records(slurp($file));
    is(join(' ', sort keys %{ $late->{after} }), join(' ', sort $columns =~ /new v|\w+/g), 'with the columns as they are');
    sql("DELETE FROM t WHERE id = 1001; $back; UPDATE t SET w = id, v = 'v' || id");
    sql("SELECT pg_drop_replication_slot('$slot')");

    # and while it runs
    $slot = slot();
    my $c = start(-S => $slot, -t => 't', '--snapshot=incremental', '--chunk-size=10');
    my @lines = $c->read_lines(5);
    sql($there);
    sql('INSERT INTO t (id) VALUES (1000)');
    push @lines, $c->read_until(qr/"id":1000,/);
    $r = $c->stop('TERM');
    $r->exited(0, "a column is $what while chunks are read");
    $oracle = Oracle->new(keys => { 'public.t' => ['id'] }, allow_gaps => 1);
    $oracle->apply(records(join '', map { "$_\n" } @lines));
    $oracle->faultless('each row once');
    is(scalar(keys %{ $oracle->rows('public.t') }), 61, 'all rows');
    sql("DELETE FROM t WHERE id = 1000; $back; UPDATE t SET w = id, v = 'v' || id");
    sql("SELECT pg_drop_replication_slot('$slot')");
}
{
    # The key itself.
    my $slot = slot();
    my @go_on = (-S => $slot, -t => 't', state_of($slot), -f => first_chunks($slot, 2));
    my $before = slurp($go_on[-1]);
    sql('ALTER TABLE t RENAME id TO key');
    my $r = run(@go_on, @chunks, -E => 'now');
    $r->exited(2, 'the key is renamed between two runs');
    like($r->err, qr/^cdcdump: error: the key of table public\.t is not the one by which a part of it has been read$/m, 'says so');
    sql('ALTER TABLE t RENAME key TO id');
    $r = run(@go_on, @chunks, '--chunk-key=w', -E => 'now');
    $r->exited(2, 'another chunk key');
    $r = run(@go_on, -E => 'now');
    $r->exited(2, 'a consistent snapshot of the rest');
    like($r->err, qr/^cdcdump: error: table public\.t has been read in part by an incremental snapshot\nHINT: .*--snapshot=incremental/m, 'says what to do');
    $r = run(@go_on, -m => 'never', -E => 'now');
    isnt($r->exit, 0, 'mode never does not pass over the rest in silence') or diag($r->err);
    $r = run(@go_on, '--snapshot=incremental', '--chunk-size=7', -E => 'now');
    $r->exited(0, 'another chunk size');
    is(given(substr slurp($go_on[-1]), length $before), join(' ', sort map { "r:t:$_" } 21 .. 60), 'goes on');
    sql("SELECT pg_drop_replication_slot('$slot')");
}

# ---- TRUNCATE and DROP ----

{
    my $slot = slot();
    my $out = first_chunks($slot, 2);
    sql(q(TRUNCATE t; INSERT INTO t VALUES (5, 'again', 1), (500, 'far', 2)));
    my $r = run(-S => $slot, -t => 't', state_of($slot), @chunks, -E => 'now', -f => $out);
    $r->exited(0, 'TRUNCATE between two chunks');
    my $oracle = Oracle->new(keys => { 'public.t' => ['id'] }, allow_gaps => 1);
    $oracle->apply_file($out);
    $oracle->faultless('each row once');
    $oracle->compare($pg, $db, 'public.t');
    is($oracle->count('t'), 1, 'the truncation is given');
    sql("SELECT pg_drop_replication_slot('$slot'); INSERT INTO t SELECT g, 'v', g FROM generate_series(1000, 1200) g");

    # While it runs, many times.
    $slot = slot();
    my $c = start(-S => $slot, -t => 't', state_of($slot), '--snapshot=incremental', '--chunk-size=3');
    my @lines = $c->read_lines(2);
    for (1 .. 10) { sql("TRUNCATE t; INSERT INTO t SELECT g, 'v', g FROM generate_series(1000, 1200) g; UPDATE t SET id = id - 1000 WHERE id > 1150"); sleep 0.02 }
    sql('INSERT INTO t VALUES (99999)');
    push @lines, $c->read_until(qr/"id":99999,/);
    wait_until(sub { $c->read_available; saved($slot)->{phase} eq 'streaming' }, 15, 'the end of the snapshot');
    $r = $c->stop('TERM');
    $r->exited(0, 'TRUNCATE while it runs');
    $oracle = Oracle->new(keys => { 'public.t' => ['id'] }, allow_gaps => 1);
    $oracle->apply(records($r->out));
    $oracle->faultless('each row once');
    $oracle->compare($pg, $db, 'public.t');
    sql("SELECT pg_drop_replication_slot('$slot')");

    sql(q(CREATE TABLE u (id int PRIMARY KEY); INSERT INTO u SELECT generate_series(1, 50)));
    $slot = slot();
    run(-S => $slot, -t => '[tu]', state_of($slot), @chunks, '--count=1')->exited(0, 'a chunk');
    $c = start(-S => $slot, -t => '[tu]', state_of($slot), '--snapshot=incremental', '--chunk-size=1', '--snapshot-query', 'public.u=SELECT * FROM u WHERE pg_sleep(0.02) IS NOT NULL');
    $c->read_until(qr/"table":"u"/);
    sql('DROP TABLE u');
    sql('INSERT INTO t VALUES (77777)');
    $c->read_until(qr/"id":77777,/);
    wait_until(sub { saved($slot)->{phase} eq 'streaming' }, 10, 'the end of the snapshot');
    $r = $c->stop('TERM');
    $r->exited(0, 'a table is dropped while it is read: the run goes on');
    like($r->err, qr/^cdcdump: table public\.u is not there any more: going on without it$/m, 'says so');
    is(join(' ', map { $_->{table} } @{ saved($slot)->{snapshot}{tables} }), 'public.t', 'which is on record');
    $r = run(-S => $slot, -t => '[tu]', state_of($slot), @chunks, -E => 'now');
    $r->exited(0, 'so does the next run');
    sql("SELECT pg_drop_replication_slot('$slot')");
}

# ---- chunk keys ----

new_db('keys', q(CREATE TABLE k (id int PRIMARY KEY, grp int, name text, must int NOT NULL); INSERT INTO k SELECT g, CASE WHEN g % 10 < 3 THEN NULL ELSE g / 20 END, 'n' || g % 7, g % 5 FROM generate_series(1, 200) g;
    CREATE INDEX ON k (grp); ALTER TABLE k REPLICA IDENTITY FULL; CREATE TABLE other (id int PRIMARY KEY); INSERT INTO other SELECT generate_series(1, 30);
    CREATE TABLE keyless (id int, v text); INSERT INTO keyless SELECT g, 'x' FROM generate_series(1, 50) g; INSERT INTO keyless VALUES (1, 'x'), (NULL, NULL);
    CREATE TABLE plain (id int PRIMARY KEY, grp int); INSERT INTO plain VALUES (1, 1);
    CREATE TABLE only_null (id int, grp int); ALTER TABLE only_null REPLICA IDENTITY FULL; INSERT INTO only_null SELECT g FROM generate_series(1, 25) g));
for my $key (qw(grp name must id)) {
    for my $size (1, 7, 1000) {
        next if $size == 1 && $key ne 'grp';
        my $r = run(-S => slot(), -t => 'k|other|only_null', -m => 'snapshot', '--snapshot=incremental', "--chunk-size=$size", '--chunk-key', $key);
        $r->exited(0, "--chunk-key=$key, --chunk-size=$size");
        my %times;
        $times{"$_->{source}{table}:$_->{after}{id}"}++ for $r->records;
        is(scalar(keys %times) . ' ' . scalar(grep { $_ != 1 } values %times), '255 0', 'all rows once');
        like($r->err, qr/no index begins with the chunk key "$key" of table public\.k/, 'warns that there is no index') if $key eq 'name' || $key eq 'must';
        unlike($r->err, qr/no index/, 'with its index') if $key eq 'grp' && $r->err !~ /only_null/;
    }
}
{
    my $slot = slot();
    my ($out, $runs) = ("$dir/$slot.out", 0);
    do {
        my $r = run(-S => $slot, -t => 'k', state_of($slot), -f => $out, '--snapshot=incremental', '--chunk-size=13', '--chunk-key=grp', '--count=1');
        $r->exited(0, 'a chunk') or last;
        sql('INSERT INTO k VALUES (1000 + ' . ++$runs . ', CASE WHEN ' . $runs . ' % 2 = 0 THEN 3 END, \'new\', 1); UPDATE k SET grp = CASE WHEN grp IS NULL THEN 2 END WHERE id = ' . 11 * $runs . '; DELETE FROM k WHERE id = ' . 7 * $runs);
    } while (saved($slot)->{phase} eq 'snapshot' && $runs < 40);
    run(-S => $slot, -t => 'k', state_of($slot), -f => $out, '--snapshot=incremental', '--chunk-key=grp', -E => 'now')->exited(0, 'to the end');
    cmp_ok($runs, '>', 5, 'chunk by chunk by a key with nulls and duplicates, and changes in between');
    # A row that is moved from one place of the order to another may be read at both.
    my $oracle = Oracle->new(keys => { 'public.k' => ['id'] }, allow_gaps => 1, relaxed => ['public.k']);
    $oracle->apply_file($out);
    $oracle->faultless('all changes in order');
    $oracle->compare($pg, $db, 'public.k');
}
for ([plain => 'grp', 'not part of the identity'], ['plain|k' => 'grp', 'of one of the tables']) {
    my ($tables, $key, $name) = @$_;
    my $slot = slot();
    my $r = run(-S => $slot, -t => $tables, '--snapshot=incremental', '--chunk-key', $key);
    $r->exited(2, "a chunk key that is $name");
    like($r->err, qr/^cdcdump: error: column "grp" of table public\.plain cannot be the chunk key: changes do not tell its old value\nHINT:  Use --replica-identity=full, or leave --chunk-key out\.$/m, 'says so');
    is($pg->slot($slot), undef, 'creates no slot');
}
{
    my $slot = slot();
    my $r = run(-S => $slot, -t => 'k', '--snapshot=incremental', '--chunk-key', 'nowhere', -E => 'now');
    $r->exited(2, 'a chunk key that no table has') or diag($r->out =~ tr/\n//);
    $r = run(-S => slot(), -t => 'keyless|other', '--replica-identity=full', -m => 'snapshot', @chunks);
    $r->exited(0, 'a table without a key');
    is(scalar(() = $r->out =~ /"table":"keyless"/g), 52, 'all its rows, equal ones as often as they are there');
    like($r->err, qr/^cdcdump: table public\.keyless has no key to cut it by: reading it as one chunk, while the stream waits$/m, 'says so');
}

# ---- pieces ----

new_db('pieces', q(CREATE TABLE small (id int PRIMARY KEY); INSERT INTO small VALUES (1), (2); CREATE TABLE big (id int, filler text) WITH (autovacuum_enabled = false);
    ALTER TABLE big ALTER filler SET STORAGE PLAIN; INSERT INTO big SELECT g, repeat('x', 3900) FROM generate_series(1, 7000) g; DELETE FROM big WHERE id % 1000 = 0 OR id BETWEEN 3900 AND 4100));
my $pages = sql(q(SELECT pg_relation_size('big') / 8192));
cmp_ok($pages, '>', 3000, 'a table of more than 24 MB');

# The ranges of pages that were asked for, as [from, to]; the last one has no end.
sub pieces ($said) {
    return map { [(/ctid >= '\((\d+),0\)'/)[0] // 0, (/ctid < '\((\d+),0\)'/)[0]] }
        grep { /COPY .* FROM ONLY public\.big\b.*ctid/ } split /\n/, $said;
}

for my $jobs (1, 2, 5) {
    my $out = "$dir/pieces$jobs";
    my $r = run(-S => slot(), -m => 'initial_only', -j => $jobs, '-v', -f => $out, '--exclude-column', 'public\.big\.filler');
    $r->exited(0, "-j $jobs");
    my %times;
    $times{$_}++ for map { canonical([@$_{qw(op)}, $_->{source}{table}, $_->{after}{id}]) } my @records = records(slurp($out));
    is(scalar(keys %times) . ' ' . scalar(grep { $_ != 1 } values %times), sql('SELECT count(*) + 2 FROM big') . ' 0', "-j $jobs: all rows once");
    is(scalar(grep { $_->{source}{snapshot} eq 'last' } @records) . $records[-1]{source}{snapshot}, '1last', "-j $jobs: the last one is marked");
    my @pieces = pieces($r->err);
    if ($jobs == 1 || $pg->version < 14) {
        is(scalar @pieces, 0, "-j $jobs: in one piece");
        next;
    }
    my @ends = (map({ $_->[1] } @pieces[0 .. $#pieces - 1]), 'none');
    is(join(' ', 0, @ends), join(' ', map({ $_->[0] } @pieces), $pieces[-1][1] // 'none'), "-j $jobs: one piece behind the other");
    my @sizes = map { $_->[1] - $_->[0] } @pieces[0 .. $#pieces - 1];
    is("@sizes", join(' ', sort { $b <=> $a } @sizes), "-j $jobs: the sooner the larger");
    cmp_ok($pages - $pieces[-1][0], '<=', 512, "-j $jobs: the last one is small");
}
my $r = run(-S => slot(), -m => 'initial_only', -j => 64, -t => 'small');
isnt($r->exit, undef, '-j 64 of one small table');
is(given($r), 'r:small:1 r:small:2', 'is read by whom it takes') if $r->exit == 0;
is($r->exit, 0, 'without asking for more connections than it needs') or diag($r->err);

done_testing;
