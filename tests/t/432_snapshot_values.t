# What rows of a snapshot look like: as changes do, for odd columns, sizes, names and encodings; and
# row filters and column lists.
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

# ---- columns ----

# after of "r" and of "c" for the same rows, as text; both have to be the same.
sub same_as_stream ($name, $fill, @args) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $slot = slot();
    run(-S => $slot, -m => 'never', -E => 'now', @args)->exited(0, "$name: a slot");
    sql($fill);
    my $of = sub ($r, $op) {
        return join "\n", sort map { /\A\{"before":null,"after":(.*),"source":\{.*"table":("(?:[^"\\]|\\.)*").*"op":"$op"/s ? "$2 $1" : () } $r->lines;
    };
    my $changes = $of->(run(-S => $slot, -m => 'never', -E => 'now', @args), 'c');
    ok(length $changes, "$name: there are changes");
    for my $how ([-m => 'initial_only'], [-m => 'snapshot', @chunks]) {
        my $r = run(-S => slot(), @$how, @args);
        $r->exited(0, "$name @$how: status 0");
        my $rows = $of->($r, 'r');
        ok($rows eq $changes, "$name @$how: rows look as changes do") or diag(substr("rows:\n$rows", 0, 2000), substr("\nchanges:\n$changes", 0, 2000));
    }
}

new_db('cols', q(CREATE TABLE gen (a int, id int PRIMARY KEY, gone int, double int GENERATED ALWAYS AS (a * 2) STORED, b text); ALTER TABLE gen DROP COLUMN gone));
same_as_stream('generated and dropped columns', q(INSERT INTO gen VALUES (7, 1, DEFAULT, 'x'), (NULL, 2, DEFAULT, NULL)));
new_db('escapes', q(CREATE TABLE e (id int PRIMARY KEY, v text, w text, x bytea)));
same_as_stream('all that COPY escapes', q(INSERT INTO e VALUES (1, E'a\\\\b\tc\nd\re\bf\fg\x0bh', '', ''), (2, '\N', NULL, NULL), (3, '', '\\', '\x005c6e'), (4, '\.', E'\t', '\x5c2e0a'),
    (5, E'\\\\N', E'\n', NULL), (6, 'é\t', 'NULL', NULL), (7, E'\\\\x41', E'\r\n', NULL)));
like(run(-S => slot(), -m => 'initial_only')->out, qr/"id":2,"v":"\\\\N","w":null,.*"id":3,"v":"","w":"\\\\"/s, 'as they are meant');
sql('TRUNCATE e');
same_as_stream('columns left out', q(INSERT INTO e VALUES (8, 'v', 'w', 'x')), '--exclude-column', 'public\.e\.(v|x)');
is((run(-S => slot(), -m => 'initial_only', '--exclude-column', 'public\.e\.(v|x)')->records)[0]{after}{w}, 'w', 'the others are there');

new_db('sizes', 'CREATE TABLE none (); CREATE TABLE empty (id int PRIMARY KEY); CREATE TABLE wide (' . join(', ', map { "c$_ int" } 1 .. 1600) . ', PRIMARY KEY (c1600)); CREATE TABLE big (id int PRIMARY KEY, v text)');
same_as_stream('sizes', 'INSERT INTO wide SELECT ' . join(', ', map { $_ % 7 ? "g + $_" : 'NULL' } 1 .. 1600) . ' FROM generate_series(1, 3) g;
    INSERT INTO none DEFAULT VALUES; INSERT INTO none DEFAULT VALUES; INSERT INTO none DEFAULT VALUES;
    INSERT INTO big SELECT g, repeat(chr(233) || g, 3500000) FROM generate_series(1, 3) g');

my %odd = (schema => "Sché.\"ma", table => "t\"a.b\nc%s%n'\\", column => "C \"o\".l\n%d'\\");
my %quoted = map { $_ => '"' . ($odd{$_} =~ s/"/""/gr) . '"' } keys %odd;
new_db('odd', "CREATE SCHEMA $quoted{schema}; CREATE TABLE $quoted{schema}.$quoted{table} (id int, $quoted{column} text PRIMARY KEY, \"select\" int); CREATE TABLE \"SELECT\" (id int PRIMARY KEY, \"\x{1F600}\" int)");
same_as_stream('odd names', "INSERT INTO $quoted{schema}.$quoted{table} VALUES (1, 'x', 2), (2, 'y', 3), (3, 'z''\\', 4); INSERT INTO \"SELECT\" VALUES (1, 2)");
{
    my $r = run(-S => slot(), -m => 'snapshot', '-v', @chunks);
    my ($record) = grep { $_->{source}{schema} ne 'public' } $r->records;
    is("$record->{source}{schema} $record->{source}{table} " . join(',', sort keys %{ $record->{after} }), "$odd{schema} $odd{table} " . join(',', sort $odd{column}, 'id', 'select'), 'names come as they are');
    $r = run(-S => slot(), -m => 'initial_only', '--snapshot-query', encode_utf8("$odd{schema}.$odd{table}=SELECT * FROM $quoted{schema}.$quoted{table} WHERE id = 2"));
    $r->exited(0, 'a query for such a table');
    is(scalar(grep { $_->{source}{schema} ne 'public' } $r->records), 1, 'one row of it');
}

new_db('raw', q(CREATE TABLE t (id int PRIMARY KEY, "é" text)), q(ENCODING 'SQL_ASCII' TEMPLATE template0));
same_as_stream('UTF-8 in a database without an encoding', q(INSERT INTO t VALUES (1, 'ÿ')));
sql(q(INSERT INTO t VALUES (2, E'a\\xffb')));
for my $how ([-m => 'initial_only'], [-m => 'snapshot', @chunks]) {
    my $r = run(-S => slot(), @$how);
    $r->exited(1, "@$how: what is no UTF-8");
    like(decode_utf8($r->err), qr/^cdcdump: error: could not write column "é" of table "public\.t".*: the value is not valid UTF-8\nHINT: /m, 'the column is named');
    run(-S => slot(), @$how, '--exclude-column', encode_utf8('public\.t\.é'))->exited(0, 'it can be left out');
}
new_db('latin', q(CREATE TABLE t (id int PRIMARY KEY, "é" text)), q(ENCODING 'LATIN1' TEMPLATE template0));
same_as_stream('LATIN1', q(INSERT INTO t VALUES (1, 'ÿ')));

SKIP: {
    skip_without($version >= 15, 'PostgreSQL 15 brought row filters and column lists', 4);
    new_db('filters', q(CREATE TABLE f (id int PRIMARY KEY, a int, hidden int); CREATE TABLE p (id int, r int, PRIMARY KEY (id, r)) PARTITION BY LIST (r);
        CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2);
        CREATE PUBLICATION f FOR TABLE f (id, a) WHERE (id % 2 = 1 OR id > 100), p WHERE (id > 1) WITH (publish = 'insert', publish_via_partition_root = true);
        CREATE PUBLICATION leaf_filter FOR TABLE p2 WHERE (id > 1), p1 (r, id) WHERE (id > 2) WITH (publish = 'insert', publish_via_partition_root = false);
        CREATE PUBLICATION in_schema FOR TABLES IN SCHEMA public));
    my $fill = 'INSERT INTO f SELECT g, g, g FROM generate_series(1, 4) g; INSERT INTO p SELECT g, 1 + g % 2 FROM generate_series(1, 4) g';
    same_as_stream('row filter and column list', $fill, '--publication-mode=existing', '--publication=f');
    reads('f:1 f:3 p:2 p:3 p:4', 'row filters', '--publication-mode=existing', '--publication=f');
    sql('TRUNCATE f, p');
    same_as_stream('filters of leaves', $fill, '--publication-mode=existing', '--publication=leaf_filter');
    reads('f:1 f:2 f:3 f:4 p1:2 p1:4 p2:1 p2:3', 'tables of a schema', '--publication-mode=existing', '--publication=in_schema');
}

done_testing;
