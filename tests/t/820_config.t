# The example configurations of the project's first documents, with their placeholders filled in, run as
# they are: the same tables, rows and changes, slots, replica identities, names.
use v5.36;
use CdcTest;

my $pg = PgServer->new(tcp => 1);
my $dir = scratch();
my $port = $pg->port;
my $password = q(pa'ss =wo\\rd);

# So that the file's password is needed, and no other will do.
spew($pg->data_dir . '/pg_hba.conf', "host all account 127.0.0.1/32 scram-sha-256\nlocal all all trust\nhost all all 127.0.0.1/32 trust\n");
$pg->sql('postgres', "CREATE ROLE account LOGIN REPLICATION PASSWORD 'pa''ss =wo\\rd'");
$pg->sql('postgres', "CREATE DATABASE $_ OWNER account") for qw(testdb test_database);
$pg->reload;

sub config ($name, $text) { spew("$dir/$name", $text); return "--config=$dir/$name" }
sub run (@args) { return Cdc->run(args => \@args, env => { PGPASSWORD => 'not this one' }) }
sub testdb ($sql) { return $pg->sql('testdb', "SET ROLE account; $sql") }
sub identity ($db, $table) { return $pg->sql($db, "SELECT relreplident FROM pg_class WHERE oid = '$table'::regclass") }

# ---- a source of one table, from rows on ----

testdb(<<'SQL');
CREATE SCHEMA testschema;
CREATE TABLE testschema.adbpg_source_table(id int, username text, PRIMARY KEY(id));
INSERT INTO testschema.adbpg_source_table(id, username) SELECT i, 'username'||i::text FROM generate_series(1, 50) AS t(i);
CREATE TABLE testschema.adbpg_sink_table(id int, username text, score int);
INSERT INTO testschema.adbpg_sink_table VALUES (1, 'x', 1);
SQL
my $quoted = $password =~ s/'/''/gr;
my $source = config('source', "'connector' = 'adbpg-cdc', 'hostname' = '127.0.0.1', 'port' = '$port', 'username' = 'account', 'password' = '$quoted', "
    . "'database-name' = 'testdb', 'schema-name' = 'testschema', 'table-name' = 'adbpg_source_table', 'slot.name' = 'flink', 'decoding.plugin.name' = 'pgoutput'\n");
my @state = ('-E', 'now', '--state', "$dir/source.json");

my $r = run($source, @state);
$r->exited(0, 'adbpg-cdc: runs');
is(gist($r), 'r1..50', 'adbpg-cdc: the rows of its table');
is(join(' ', sort keys %{ { map { ("$_->{source}{schema}.$_->{source}{table}" => 1) } $r->records } }), 'testschema.adbpg_source_table', 'adbpg-cdc: of no other');
like($r->err, qr/^cdcdump: ALTER TABLE testschema\.adbpg_source_table REPLICA IDENTITY FULL$/m, 'adbpg-cdc: says that it sets the replica identity');
is(identity('testdb', 'testschema.adbpg_source_table'), 'f', 'adbpg-cdc: and sets it');
is(identity('testdb', 'testschema.adbpg_sink_table'), 'd', 'adbpg-cdc: of the captured table alone');
is(join('|', @{ $pg->slot('flink') }{qw(plugin database)}), 'pgoutput|testdb', 'adbpg-cdc: its slot');
unlike($r->err, qr/warning|error/, 'adbpg-cdc: nothing to complain about');

testdb("INSERT INTO testschema.adbpg_source_table(id, username) SELECT i, 'username'||i::text FROM generate_series(51, 100) AS t(i);
    UPDATE testschema.adbpg_source_table SET username = 'other' WHERE id = 7; INSERT INTO testschema.adbpg_sink_table VALUES (2, 'x', 1)");
$r = run($source, @state);
is(gist($r), 'c51..100 u7', 'adbpg-cdc: then the changes of its table');
is_deeply(($r->records)[-1]{before}, { id => 7, username => 'username7' }, 'adbpg-cdc: with old rows');

# ---- a source of several tables, changes alone ----

testdb(<<'SQL');
CREATE TABLE products (product_id SERIAL PRIMARY KEY, product_name VARCHAR(200) NOT NULL, sku CHAR(12) NOT NULL, description TEXT,
    price NUMERIC(10,2) NOT NULL, discount_price DECIMAL(10,2), stock_quantity INTEGER DEFAULT 0, weight REAL, volume DOUBLE PRECISION, dimensions BOX,
    release_date DATE, is_featured BOOLEAN DEFAULT FALSE, rating FLOAT, warranty_period INTERVAL, metadata JSON, tags TEXT[]);
CREATE TABLE documents (document_id UUID PRIMARY KEY, title VARCHAR(200) NOT NULL, content TEXT, xml_content XML, reading_time INTERVAL, tags TEXT[]);
CREATE TABLE others (id int);
SQL
my $insert = q(INSERT INTO products (product_name, sku, description, price, discount_price, stock_quantity, weight, volume, dimensions, release_date, is_featured, rating, warranty_period, metadata, tags)
    VALUES ('Test Product', 'Test-2025', 'A piece of test product data', 299.99, 279.99, 150, 50.5, 120.75, '(10,20),(30,40)', '2023-05-01', TRUE, 4.8, INTERVAL '1 year', '{"brand": "TechCo", "model": "X1"}', '{"Test1", "Test2"}');
    INSERT INTO documents (document_id, title) VALUES (md5(random()::text)::uuid, 'Title'); INSERT INTO others VALUES (1););
testdb($insert);
my $several = config('several', <<"EOC");
  'connector' = 'adbpg-cdc',
  'hostname' = '127.0.0.1',
  'port' = '$port',
  'username' = 'account',
  'password' = '$quoted',
  'database-name' = 'testdb',
  'schema-name' = 'public',
  'table-name' = '(products|documents)',
  'slot.name' = 'flink',
  'decoding.plugin.name' = 'pgoutput',
  'debezium.snapshot.mode' = 'never'
EOC
$r = run($several, -E => 'now');
$r->exited(0, 'several tables: runs');
is($r->out, '', 'several tables: no rows with snapshot.mode never');
testdb($insert);
$r = run($several, -E => 'now');
my @changes = $r->records;
is(join(' ', map { "$_->{op}:$_->{source}{table}" } @changes), 'c:products c:documents', 'several tables: the changes of these two');
is($changes[0]{after}{discount_price}, '279.99', 'several tables: a value');
is(identity('testdb', 'products') . identity('testdb', 'documents') . identity('testdb', 'others'), 'ffd', 'several tables: replica identities');

# ---- a connector of Kafka Connect, on a slot of wal2json made before ----

SKIP: {
    my ($missing, undef, $why) = $pg->try_sql('test_database', q(SELECT 'init' FROM pg_create_logical_replication_slot('test_slot', 'wal2json')));
    skip_without(!$missing, 'wal2json is not installed', 14);
    $pg->sql('test_database', 'SET ROLE account; CREATE SCHEMA test_schema; CREATE TABLE test_schema.sql_table(id INT, number INT); CREATE TABLE test_schema.other(id INT)');
    my $properties = <<"EOC";
connector.class=io.debezium.connector.postgresql.PostgresConnector
database.dbname=test_database
database.hostname=127.0.0.1
database.password=${\ ($password =~ s/\\/\\\\/gr)}
database.port=$port
database.user=account
name=debezium-psql-source

# a comment
plugin.name=wal2json
slot.drop_on_stop=true
slot.name=test_slot
table.whitelist=test_schema.sql_table
tasks.max=1
database.server.name=test-prefix
value.converter=org.apache.kafka.connect.json.JsonConverter
value.converter.schemas.enable=false
EOC
    my $c = Cdc->start(args => [config('properties', $properties), '-v']);
    $c->wait_stderr(qr/read 0 rows of 1 table/);
    $pg->sql('test_database', 'INSERT INTO test_schema.other VALUES (1); INSERT INTO test_schema.sql_table(id, number) VALUES(123, 20000)');
    my ($line) = $c->read_lines(1);
    my $record = (records("$line\n"))[0];
    is_deeply($record->{after}, { id => 123, number => 20000 }, 'Debezium: the change');
    is($record->{before}, undef, 'Debezium: nothing before');
    is($record->{op}, 'c', 'Debezium: an insert');
    is(join('|', @{ $record->{source} }{qw(connector name db schema table)}), 'postgresql|test-prefix|test_database|test_schema|sql_table', 'Debezium: its source');
    is($pg->slot('test_slot')->{active}, JSON::PP::true, 'Debezium: reads from the slot');
    ok($pg->log_contains(qr{account\@test_database/debezium-psql-source}), 'Debezium: the server knows it by its name');
    $c->wait_written($pg->wal_lsn);
    my $stopped = $c->stop('TERM');
    $stopped->exited(0, 'Debezium: stopped');
    is($pg->slot('test_slot'), undef, 'Debezium: the slot is dropped on stop');
    unlike($stopped->err, qr/error|has no effect|matches nothing/, 'Debezium: nothing to complain about');

    # ---- what its documents say about mistakes ----

    $r = run(config('mode', "$properties\nsnapshot.mode=sometimes\n"));
    $r->exited(2, 'an invalid snapshot.mode');
    like($r->err, qr/^cdcdump: error: invalid value "sometimes" for "snapshot\.mode": must be one of (.*)$/m, 'the key and the value');
    my ($allowed) = $r->err =~ /must be one of (.*)/;
    is(join(' ', grep { my $mode = $_; !grep { $_ eq $mode } split /, /, $allowed } qw(never initial_only when_needed initial schema_only schema_only_recovery)), '', 'every allowed value');
    like($r->err, qr/^DETAIL:  That is line 19 of "\Q$dir\E\/mode"\.$/m, 'and the line');
    $r = run(config('wrong', $properties =~ s/^(database\.password=).*/$1hush/mr));
    $r->exited(2, 'a wrong password');
    like($r->err, qr/password authentication failed/, 'as the server says it');
    unlike($r->err, qr/hush/, 'which is not printed');
}

done_testing;
