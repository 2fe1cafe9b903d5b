# What a snapshot reads, and under which names: partitions, inheritance, kinds of tables, queries,
# privileges.
use v5.36;
use utf8;
use Encode qw(encode_utf8 decode_utf8);
use CdcTest;
use Time::HiRes qw(sleep);

my $pg = PgServer->new(extra_conf => { max_replication_slots => 100, max_connections => 60 });
my $version = $pg->version;
my $dir = scratch();
my $db = 'postgres';
my $nslots = 0;

sub sql ($text) { return $pg->sql($db, $text) }
sub new_db ($name, $tables, $options = '') {
    $pg->sql('postgres', "CREATE DATABASE $name $options");
    $db = $name;
    sql($tables);
}
sub start (@args) { return Cdc->start(server => $pg, db => $db, args => [@args]) }
sub run (@args) { return start(@args)->wait(25) }
sub slots () { return $pg->sql('postgres', 'SELECT count(*) FROM pg_replication_slots') }
sub slot () { return 's' . ++$nslots }

# "t:1 t:2 u:1": what the records of an operation are about, in the order of tables and ids.
sub given ($r, $op = 'r') {
    return join ' ', sort map { ($_->{op} // '') eq $op ? "$_->{source}{table}:" . (($_->{after} // $_->{before})->{id} // '') : () } $r->records;
}

my @chunks = ('--snapshot=incremental', '--chunk-size=2');

# The same rows, in every way to read them.
sub reads ($want, $name, @args) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    for my $how (['-j', 3], [@chunks]) {
        my $r = run(-S => slot(), -m => 'snapshot', @$how, @args);
        $r->exited(0, "$name @$how: status 0");
        is(given($r), $want, "$name @$how: these rows");
    }
}

sub refused ($status, $regex, $name, @args) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $before = slots();
    my $r = run(-S => slot(), @args);
    $r->exited($status, $name);
    like(decode_utf8($r->err), $regex, "$name: says why");
    is($r->out, '', "$name: no data");
    is(slots(), $before, "$name: leaves no slot behind");
    return $r;
}

# ---- partitions ----

SKIP: {
    skip_without($version >= 13, 'PostgreSQL 13 brought publications of partitioned tables', 10);
    new_db('parts', q(CREATE TABLE root (id int, region text, v int, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
        CREATE TABLE eu PARTITION OF root FOR VALUES IN ('eu');
        CREATE TABLE us (v int, gone int, region text NOT NULL, id int NOT NULL, PRIMARY KEY (id, region)); ALTER TABLE us DROP COLUMN gone; ALTER TABLE root ATTACH PARTITION us FOR VALUES IN ('us');
        CREATE TABLE asia PARTITION OF root FOR VALUES IN ('jp', 'cn') PARTITION BY LIST (region); CREATE TABLE jp PARTITION OF asia FOR VALUES IN ('jp');
        CREATE TABLE cn PARTITION OF asia FOR VALUES IN ('cn');
        INSERT INTO root VALUES (1, 'eu', 10), (2, 'us', 20), (3, 'jp', 30), (4, 'cn', 40), (5, 'eu', 50), (6, 'us', 60), (7, 'us', 70);
        CREATE PUBLICATION leaves FOR TABLE root; CREATE PUBLICATION twice FOR TABLE root, eu, asia; CREATE PUBLICATION few FOR TABLE eu, asia;
        CREATE PUBLICATION both_root FOR TABLE root, eu, asia WITH (publish_via_partition_root = true);
        CREATE PUBLICATION some_root FOR TABLE eu, asia WITH (publish_via_partition_root = true);
        CREATE PUBLICATION everything FOR ALL TABLES WITH (publish_via_partition_root = true)));
    my $root = 'root:1 root:2 root:3 root:4 root:5 root:6 root:7';
    my $leaves = 'cn:4 eu:1 eu:5 jp:3 us:2 us:6 us:7';
    my @existing = ('--publication-mode=existing', '--publication');
    reads($root, 'through the root', -t => 'root');
    reads($root, 'root and leaves selected', ());
    reads('eu:1 eu:5', 'a leaf', -t => 'eu');
    reads('asia:3 asia:4', 'a partition with partitions', -t => 'asia');
    reads($leaves, 'leaves of an existing publication', @existing, 'leaves');
    reads($leaves, 'leaves published twice', @existing, 'twice');
    reads($root, 'root and leaves published through the root', @existing, 'both_root');
    reads('cn:4 eu:1 eu:5 jp:3', 'some leaves', @existing, 'few');
    reads('asia:3 asia:4 eu:1 eu:5', 'some through their own roots', @existing, 'some_root');
    reads($root, 'all tables', @existing, 'everything');
    reads('us:2 us:6 us:7', 'one leaf of the published', @existing, 'leaves', -t => 'us');
    reads('cn:4 jp:3 us:2 us:6 us:7', 'all leaves but one', @existing, 'leaves', -T => 'eu');
    # The stream goes on with the same names.
    for my $how ([-t => 'root'], [@existing, 'leaves'], [@existing, 'some_root'], [@chunks]) {
        my $slot = slot();
        run(-S => $slot, -m => 'initial', -E => 'now', @$how)->exited(0, 'rows');
        sql(q(INSERT INTO root VALUES (8, 'eu', 80), (9, 'cn', 90)));
        my $r = run(-S => $slot, -m => 'never', -E => 'now', grep { !/snapshot=|chunk/ } @$how);
        my $names = { root => 'root:8 root:9', leaves => 'cn:9 eu:8', some_root => 'asia:9 eu:8' }->{ $how->[-1] } // 'root:8 root:9';
        is(given($r, 'c'), $names, "@$how: changes have the names of the rows");
        sql('DELETE FROM root WHERE id > 7');
    }

    # Who may read the root may read its rows.
    sql(q(CREATE ROLE rooted LOGIN REPLICATION; GRANT SELECT ON root TO rooted));
    for my $how ([], [@chunks], ['-j', 2]) {
        my $r = Cdc->run(args => [-d => $pg->connstr('parts', user => 'rooted'), -S => slot(), -m => 'snapshot', @existing, 'both_root', -t => 'root', @$how]);
        $r->exited(0, "@$how: privileges on the root only");
        is(given($r), $root, 'are enough');
    }
    my $r = Cdc->run(args => [-d => $pg->connstr('parts', user => 'rooted'), -S => slot(), -m => 'snapshot', @existing, 'leaves']);
    $r->exited(2, 'but not for its leaves');
    like($r->err, qr/permission denied to read the rows of table public\.\w+$/m, 'which are named');

    # A foreign partition has no changes, so none of its rows are read.
    SKIP: {
        skip_without($pg->sql($db, q(SELECT count(*) FROM pg_available_extensions WHERE name = 'file_fdw')), 'extension file_fdw is not there', 4);
        spew($pg->data_dir . '/far.csv', "100,far,1000\n");
        chmod 0644, $pg->data_dir . '/far.csv';
        sql("CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
            CREATE FOREIGN TABLE far (id int NOT NULL, region text NOT NULL, v int) SERVER files OPTIONS (filename '" . $pg->data_dir . "/far.csv', format 'csv')");
        my ($failed, undef, $why) = $pg->try_sql($db, q(ALTER TABLE root ATTACH PARTITION far FOR VALUES IN ('far')));
        if ($failed) {    # a unique index cannot be on it
            sql(q(ALTER TABLE root DROP CONSTRAINT root_pkey CASCADE; ALTER TABLE root ATTACH PARTITION far FOR VALUES IN ('far')));
        }
        is(sql('SELECT count(*) FROM root'), 8, 'a foreign partition');
        reads($root, 'with a foreign partition, through the root', -t => 'root');
        my @as = (-d => $pg->connstr('parts', user => 'rooted'));
        my $r = Cdc->run(args => [@as, -S => slot(), -m => 'snapshot', @existing, 'both_root', -t => 'root']);
        $r->exited(0, 'and with privileges on the root only');
        is(given($r), $root, 'the same rows');
        reads($leaves, 'and leaf by leaf', @existing, 'leaves');
    }
}

# ---- kinds of tables ----

new_db('kinds', q(CREATE TABLE parent (id int PRIMARY KEY, v int); CREATE TABLE child (w int, PRIMARY KEY (id)) INHERITS (parent);
    INSERT INTO parent VALUES (1, 1); INSERT INTO child VALUES (2, 2, 2); CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (3);
    CREATE VIEW viewed AS SELECT * FROM t; CREATE MATERIALIZED VIEW mat AS SELECT * FROM t; CREATE UNLOGGED TABLE unlogged AS SELECT * FROM t;
    CREATE SEQUENCE seq; CREATE PUBLICATION all_of_it FOR ALL TABLES; CREATE PUBLICATION tree FOR TABLE parent; CREATE PUBLICATION only_it FOR TABLE ONLY parent));
my $temporary = $pg->session($db);
$temporary->sql('CREATE TEMPORARY TABLE temporary AS SELECT * FROM t');
reads('child:2 parent:1 t:3', 'inherited tables each once, and no views, unlogged or temporary tables');
reads('parent:1', 'a parent without its child', -t => 'parent');
reads('child:2 parent:1 t:3', 'all tables', '--publication-mode=all-tables', '--publication=all_of_it');
reads('child:2 parent:1', 'a publication of a parent and its children', '--publication-mode=existing', '--publication=tree');
reads('parent:1', 'a publication of a parent alone', '--publication-mode=existing', '--publication=only_it');
$temporary->close;

# ---- queries ----

new_db('queries', q(CREATE TABLE q (id int PRIMARY KEY, v text, n int); INSERT INTO q SELECT g, 'v' || g, g FROM generate_series(1, 5) g; CREATE TABLE other (id int PRIMARY KEY); INSERT INTO other VALUES (1)));
sub query ($text) { return ('--snapshot-query', "public.q=$text") }
reads('other:1 q:2 q:4', 'a query', query('SELECT * FROM q WHERE id % 2 = 0'));
reads('other:1 q:2 q:4', 'a query with semicolon, comment and blanks', query("SELECT * FROM q -- the even ones\nWHERE id % 2 = 0 ; \n"));
reads('other:1 q:2 q:4', 'a query that ends in a comment', query('SELECT * FROM q WHERE id % 2 = 0 -- even'));
reads('other:1 q:1 q:2', 'a query with its own order and limit', query('SELECT n, id FROM q ORDER BY id LIMIT 2'));
reads('other:1', 'a query without rows', query('SELECT * FROM q WHERE false'));
is(canonical((run(-S => slot(), -m => 'initial_only', -t => 'q', query('SELECT id, upper(v) AS v FROM q WHERE id = 1'))->records)[0]{after}), '{"id":1,"v":"V1"}', 'columns that it leaves out are not there');
for my $how ([-m => 'initial'], [-m => 'initial_only'], [-m => 'initial', @chunks]) {
    refused(2, qr/^cdcdump: error: the snapshot query of table public\.q leaves out column "id"$/m, "@$how: without the key", @$how, query('SELECT v FROM q'));
    refused(2, qr/^cdcdump: error: the snapshot query of table public\.q gives another type to column "n"$/m, "@$how: another type", @$how, query('SELECT id, n::text FROM q'));
    refused(2, qr/^cdcdump: error: the snapshot query of table public\.q gives a column that is not published, "x"$/m, "@$how: an unknown column", @$how, query('SELECT id, 1 AS x FROM q'));
    refused(2, qr/^cdcdump: error: could not use the snapshot query of table public\.q: relation "nowhere" does not exist/m, "@$how: an error", @$how, query('SELECT * FROM nowhere'));
    refused(2, qr/^cdcdump: error: could not use the snapshot query of table public\.q: /m, "@$how: no query", @$how, query('DELETE FROM q'));
    refused(2, qr/^cdcdump: error: could not use the snapshot query of table public\.q: /m, "@$how: two statements", @$how, query('SELECT * FROM q; SELECT 1'));
    refused(2, qr/^cdcdump: error: the snapshot query "public\.nowhere=SELECT 1" is for no captured table\nHINT: /m, "@$how: a table that is not there", @$how, '--snapshot-query', 'public.nowhere=SELECT 1');
    refused(2, qr/^cdcdump: error: the snapshot query "public\.q=SELECT \* FROM q" is for no captured table\nHINT: /m, "@$how: a table that is not captured", @$how, -T => 'q', query('SELECT * FROM q'));
}
is(sql('SELECT count(*) FROM q'), 5, 'nothing was deleted');

# ---- who may not read ----

new_db('privileges', q(CREATE ROLE reader LOGIN REPLICATION; CREATE TABLE open (id int PRIMARY KEY); INSERT INTO open VALUES (1); CREATE TABLE closed (id int PRIMARY KEY);
    CREATE TABLE "Guarded" (id int PRIMARY KEY); ALTER TABLE "Guarded" ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON "Guarded" USING (id < 10); INSERT INTO "Guarded" VALUES (1), (11);
    GRANT SELECT ON open, "Guarded" TO reader; CREATE PUBLICATION p FOR ALL TABLES; CREATE SCHEMA hidden; CREATE TABLE hidden.open (id int PRIMARY KEY); GRANT SELECT ON hidden.open TO reader));
sub as_reader (@args) { return (-d => $pg->connstr('privileges', user => 'reader'), '--publication-mode=existing', '--publication=p', @args) }
for my $how ([-m => 'initial'], [-m => 'initial_only'], [-m => 'initial', @chunks]) {
    for (['closed', qr/permission denied to read the rows of table public\.closed$/m], ['Guarded', qr/row-level security would hide rows of table public\.Guarded$/m],
        ['hidden\.open', qr/permission denied to read the rows of table hidden\.open$/m]) {
        my ($table, $regex) = @$_;
        my $before = slots();
        my $r = Cdc->run(args => [as_reader(-S => slot(), @$how, -t => "public.open|$table", -n => 'public|hidden')]);
        $r->exited(2, "@$how, table $table");
        like($r->err, $regex, 'is named');
        like($r->err, qr/^HINT:  The role needs (?:GRANT SELECT|BYPASSRLS)/m, 'with a remedy');
        is($r->out . slots(), $before, 'no rows, no slot');
    }
    my $r = Cdc->run(args => [as_reader(-S => slot(), @$how, -E => 'now', -t => 'public\.open')]);
    $r->exited(0, "@$how, what it may read");
    is(given($r), 'open:1', 'is read');
}
sql('ALTER TABLE "Guarded" FORCE ROW LEVEL SECURITY');
reads('Guarded:1 Guarded:11', 'a superuser sees all rows', -t => 'Guarded');
sql('ALTER ROLE reader BYPASSRLS');
is(given(Cdc->run(args => [as_reader(-S => slot(), -m => 'initial_only', -t => 'Guarded')])), 'Guarded:1 Guarded:11', 'and so does a role with BYPASSRLS');
done_testing;
