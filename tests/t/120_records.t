# Records: the bytes of every operation in both envelopes, keys, and the records that are off by
# default.
use v5.36;
use utf8;
use Encode qw(encode_utf8 decode_utf8);
use CdcTest;

my $pg = PgServer->new(extra_conf => { track_commit_timestamp => 'on' });
$pg->create_db('shop');
my $version = $pg->version;
my $unavailable = '"__debezium_unavailable_value"';

# ---- how a case is run: a schema and a slot of its own ----

my $n = 0;
my $schema;    # of the case that ran last

sub capture (@args) {
    return Cdc->run(server => $pg, db => 'shop', args => ['-S', "slot$n", '-n', $schema, qw(-m never -E now), @args]);
}

sub sql ($text) { return $pg->sql('shop', "SET search_path = $schema, public; $text") }

sub prepare ($tables, @args) {
    $schema = 's' . ++$n;
    $pg->sql('shop', "CREATE SCHEMA $schema");
    sql($tables);
    my $r = capture(@args);
    $r->exited(0, 'creates a slot') or die $r->err;
    return $r;
}

sub forget () {
    $pg->sql('shop', "SELECT pg_drop_replication_slot('slot$n'); DROP PUBLICATION cdcdump_slot$n");
}

# Tables, changes -> the result of the run that reads the changes.
sub result_of ($tables, $changes, @args) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    prepare($tables, @args);
    sql($changes);
    my $r = capture(@args);
    $r->exited(0, 'reads them');
    forget();
    return $r;
}

# A line with letters in place of times, positions and transactions.
sub shape ($line) {
    $line = decode_utf8($line);
    $line =~ s/"(ts_ms|ts_us|ts_ns)":\d+(?=[,}])/"$1":T/g;
    $line =~ s/"sequence":"\[(?:null|\\"\d+\\"),\\"\d+\\"\]"/"sequence":S/;
    $line =~ s/"((?:commit_|end_)?lsn)":(?:\d+|"[0-9A-F]+\/[0-9A-F]+")/"$1":L/g;
    $line =~ s/"(txId|xid)":\d+/"$1":X/g;
    $line =~ s/"id":"\d+:\d+"/"id":"X:L"/;
    $line =~ s/"ts":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"/"ts":T/;
    return $line;
}

sub shapes ($r) { return map { shape($_) } $r->lines }

my $clock = '"ts_ms":T,"ts_us":T,"ts_ns":T}';

sub source ($table, $seq) {
    return qq("source":{"version":"1.0.0","connector":"postgresql","name":"shop","ts_ms":T,"snapshot":"false","db":"shop",)
        . qq("sequence":S,"ts_us":T,"ts_ns":T,"schema":"$schema","table":"$table","txId":X,"lsn":L,"xmin":null,"commit_lsn":L,"tx_seq":$seq});
}

sub debezium ($op, $table, $seq, $before, $after) {
    return qq({"before":$before,"after":$after,) . source($table, $seq) . qq(,"op":"$op",$clock);
}

sub plain ($op, $table, $seq, $key, $row, $old) {
    return qq({"op":"$op","lsn":L,"commit_lsn":L,"seq":$seq,"xid":X,"ts":T,"schema":"$schema","table":"$table","key":$key,"row":$row,"old":$old});
}

# Comparable one by one, so that a difference can be seen.
sub lines_are ($r, $name, @expected) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my @got = shapes($r);
    is($got[$_] // 'nothing', $expected[$_] // 'nothing', "$name: line " . ($_ + 1)) for 0 .. (@got > @expected ? $#got : $#expected);
}

# [op, before, after] of each record, as JSON text.
sub brief ($r) { return map { decode_utf8($_) =~ /\A(?:.*?\t)?\{"before":(.*),"after":(.*),"source":.*?"op":"(\w)"/ ? "$3 $1 $2" : $_ } $r->lines }

sub brief_is ($r, $name, @expected) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is(join("\n", brief($r)), join("\n", @expected), $name);
}

# ---- whole records ----

my $t = 'CREATE TABLE t (id int PRIMARY KEY, name text)';
my $all = q(BEGIN; INSERT INTO t VALUES (1, 'a'); UPDATE t SET name = 'b'; UPDATE t SET id = 2;
    DELETE FROM t; TRUNCATE t; COMMIT; INSERT INTO t VALUES (3, NULL));

my $r = result_of($t, $all);
lines_are($r, 'debezium',
    debezium('c', 't', 1, 'null', '{"id":1,"name":"a"}'), debezium('u', 't', 2, 'null', '{"id":1,"name":"b"}'),
    debezium('u', 't', 3, '{"id":1}', '{"id":2,"name":"b"}'), debezium('d', 't', 4, '{"id":2}', 'null'),
    debezium('t', 't', 5, 'null', 'null'), debezium('c', 't', 1, 'null', '{"id":3,"name":null}'));
my @records = $r->records;
is(canonical($_), canonical($records[0]{source}{commit_lsn}), 'one commit_lsn in a transaction') for map { $_->{source}{commit_lsn} } @records[1 .. 4];
isnt($records[5]{source}{commit_lsn}, $records[0]{source}{commit_lsn}, 'another one in the next');
is($records[0]{source}{sequence}, qq([null,"$records[0]{source}{lsn}"]), 'sequence of the first transaction');
is($records[4]{source}{sequence}, qq([null,"$records[4]{source}{lsn}"]), 'and of its last change');
is($records[5]{source}{sequence}, qq(["$records[0]{source}{commit_lsn}","$records[5]{source}{lsn}"]), 'then the commit before comes first');
like($_->{source}{lsn}, qr/\A\d+\z/, 'lsn is a number') for @records;
ok($records[$_]{source}{lsn} >= $records[$_ - 1]{source}{lsn}, 'lsn goes on') for 1 .. 5;
for my $record (@records) {
    for my $times ($record, $record->{source}) {
        ok($times->{ts_us} =~ /\A\d{16}\z/ && int($times->{ts_us} / 1000) == $times->{ts_ms} && $times->{ts_us} . '000' eq $times->{ts_ns},
            'the times are one time');
    }
    ok(abs($record->{ts_us} / 1e6 - time) < 60 && $record->{ts_us} >= $record->{source}{ts_us}, 'written after the commit, now');
}

$r = result_of($t, $all, qw(-e plain));
lines_are($r, 'plain',
    plain('c', 't', 1, '{"id":1}', '{"id":1,"name":"a"}', 'null'), plain('u', 't', 2, '{"id":1}', '{"id":1,"name":"b"}', 'null'),
    plain('u', 't', 3, '{"id":2}', '{"id":2,"name":"b"}', '{"id":1}'), plain('d', 't', 4, '{"id":2}', 'null', '{"id":2}'),
    plain('t', 't', 5, 'null', 'null', 'null'), plain('c', 't', 1, '{"id":3}', '{"id":3,"name":null}', 'null'));

# Over two runs, which the state file joins.
prepare($t, '--state', my $state = scratch() . '/state.json');
my @joined;
for my $id (1 .. 2) {
    sql("INSERT INTO t VALUES ($id, 'x')");
    push @joined, map { $_->{source} } capture('--state', $state)->records;
}
is($joined[1]{sequence}, qq(["$joined[0]{commit_lsn}","$joined[1]{lsn}"]), 'sequence goes on from the run before');
forget();

# What the server knows of a transaction is what the records say.
prepare($t);
my $session = $pg->session('shop');
$session->sql("SET search_path = $schema");
$session->sql('BEGIN');
my $xid = $session->sql('SELECT txid_current()');
my @between = $session->sql('SELECT pg_current_wal_insert_lsn()');
for my $id (1 .. 3) {
    $session->sql("INSERT INTO t VALUES ($id, 'x')");
    push @between, $session->sql('SELECT pg_current_wal_insert_lsn()');
}
$session->sql('COMMIT');
push @between, $session->sql('SELECT pg_current_wal_insert_lsn()');
my ($commit_us) = $session->sql("SELECT (extract(epoch FROM pg_xact_commit_timestamp('$xid')) * 1000000)::bigint");
my $commit_text = $session->sql("SELECT to_char(pg_xact_commit_timestamp('$xid') AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')");
$session->close;
$pg->sql('shop', "SELECT pg_copy_logical_replication_slot('slot$n', 'plain')");
@records = capture()->records;
is(scalar @records, 3, 'three records');
for my $i (0 .. 2) {
    my $source = $records[$i]{source};
    is($source->{txId}, $xid, 'txId is the transaction');
    is($source->{ts_us}, $commit_us, 'ts_us is the time of its commit');
    ok($source->{lsn} >= lsn_num($between[$i]) && $source->{lsn} < lsn_num($between[$i + 1]), "lsn is where change $i stands");
    ok($source->{commit_lsn} >= lsn_num($between[3]) && $source->{commit_lsn} < lsn_num($between[4]), 'commit_lsn is where the commit stands');
    is($source->{tx_seq}, $i + 1, 'tx_seq is its place');
}
my $plain_run = Cdc->run(server => $pg, db => 'shop', args => ['-S', 'plain', '-n', $schema, '--publication', "cdcdump_slot$n", qw(-e plain -m never -E now)]);
$plain_run->exited(0, 'the same in the plain envelope');
my @plain = $plain_run->records;
for my $i (0 .. 2) {
    is($plain[$i]{lsn}, lsn_text($records[$i]{source}{lsn}), 'plain: the same lsn as text');
    is($plain[$i]{commit_lsn}, lsn_text($records[$i]{source}{commit_lsn}), 'plain: the same commit_lsn');
    is("$plain[$i]{xid} $plain[$i]{ts}", "$xid $commit_text", 'plain: transaction and time');
}
$pg->sql('postgres', "SELECT pg_drop_replication_slot('plain')");
forget();

# Every row of a COPY has the same LSN; its place tells them apart.
$r = result_of($t, "COPY t FROM stdin;\n" . join('', map { "$_\tx\n" } 1 .. 500) . "\\.\n");
is(join(' ', map { $_->{source}{tx_seq} } $r->records), join(' ', 1 .. 500), 'tx_seq counts the rows of a COPY');
cmp_ok(scalar(keys %{ { map { $_->{source}{lsn} => 1 } $r->records } }), '<', 100, 'which share their LSNs');

# ---- what was before ----

my $wide = 'CREATE TABLE t (id int PRIMARY KEY, code text NOT NULL, big text); ALTER TABLE t ALTER big SET STORAGE EXTERNAL; CREATE UNIQUE INDEX by_code ON t (code);';
my $big = 'x' x 5000;
my $steps = "INSERT INTO t VALUES (1, 'a', '$big'); UPDATE t SET code = 'b'; UPDATE t SET id = 2; UPDATE t SET big = 'y'; DELETE FROM t";

brief_is(result_of($wide, $steps), 'identity default: the key where it was sent',
    qq(c null {"id":1,"code":"a","big":"$big"}), qq(u null {"id":1,"code":"b","big":$unavailable}),
    qq(u {"id":1} {"id":2,"code":"b","big":$unavailable}), 'u null {"id":2,"code":"b","big":"y"}', 'd {"id":2} null');
brief_is(result_of("$wide ALTER TABLE t REPLICA IDENTITY FULL", $steps), 'identity full: the whole row, nothing unavailable',
    qq(c null {"id":1,"code":"a","big":"$big"}), qq(u {"id":1,"code":"a","big":"$big"} {"id":1,"code":"b","big":"$big"}),
    qq(u {"id":1,"code":"b","big":"$big"} {"id":2,"code":"b","big":"$big"}),
    qq(u {"id":2,"code":"b","big":"$big"} {"id":2,"code":"b","big":"y"}), 'd {"id":2,"code":"b","big":"y"} null');
brief_is(result_of("$wide ALTER TABLE t REPLICA IDENTITY USING INDEX by_code", $steps), 'identity by index: its columns',
    qq(c null {"id":1,"code":"a","big":"$big"}), qq(u {"code":"a"} {"id":1,"code":"b","big":$unavailable}),
    qq(u null {"id":2,"code":"b","big":$unavailable}), 'u null {"id":2,"code":"b","big":"y"}', 'd {"code":"b"} null');
$r = result_of('CREATE TABLE t (a int, b text); ALTER TABLE t REPLICA IDENTITY FULL', "INSERT INTO t VALUES (1, NULL); UPDATE t SET b = 'x'; DELETE FROM t");
brief_is($r, 'identity full with NULL, no key', 'c null {"a":1,"b":null}', 'u {"a":1,"b":null} {"a":1,"b":"x"}', 'd {"a":1,"b":"x"} null');
brief_is(result_of("CREATE TABLE t (a int, b int, c text NOT NULL, PRIMARY KEY (b, a))", "INSERT INTO t VALUES (1, 2, 'x'); UPDATE t SET a = 5; DELETE FROM t"),
    'a key of two columns: no column that was not sent, none left out', 'c null {"a":1,"b":2,"c":"x"}', 'u {"a":1,"b":2} {"a":5,"b":2,"c":"x"}', 'd {"a":5,"b":2} null');

brief_is(result_of('CREATE TABLE t (id int PRIMARY KEY, gone text, v int, also int); ALTER TABLE t DROP gone; ALTER TABLE t REPLICA IDENTITY FULL; INSERT INTO t VALUES (1, 2, 3); ALTER TABLE t DROP also',
    'UPDATE t SET v = 4; DELETE FROM t'), 'identity full and columns that were dropped', 'u {"id":1,"v":2} {"id":1,"v":4}', 'd {"id":1,"v":4} null');
brief_is(result_of("$t; CREATE INDEX ON t (name)", "INSERT INTO t VALUES (1, 'a'); INSERT INTO t VALUES (1, 'b'), (2, 'c') ON CONFLICT (id) DO UPDATE SET name = excluded.name; UPDATE t SET name = name WHERE id = 2;
    INSERT INTO t VALUES (2, 'd') ON CONFLICT DO NOTHING; UPDATE t SET name = 'x' WHERE id = 99; VACUUM FULL t; CLUSTER t USING t_pkey; REINDEX TABLE t; ALTER TABLE t ALTER name SET NOT NULL"),
    'upserts are what they did, updates to the same come, rewrites do not', 'c null {"id":1,"name":"a"}', 'u null {"id":1,"name":"b"}', 'c null {"id":2,"name":"c"}', 'u null {"id":2,"name":"c"}');
brief_is(result_of('CREATE TABLE t (id int PRIMARY KEY, a int, twice int GENERATED ALWAYS AS (a * 2) STORED)', 'INSERT INTO t (id, a) VALUES (1, 2)'), 'the server leaves generated columns out',
    'c null {"id":1,"a":2}') if $version < 18;

# A key column that is stored out of line is sent although it did not change.
my $long = 'k' x 2500;
my $out_of_line = 'CREATE TABLE t (k text PRIMARY KEY, v int); ALTER TABLE t ALTER k SET STORAGE EXTERNAL';
my $touch = "INSERT INTO t VALUES ('$long', 1); UPDATE t SET v = 2; DELETE FROM t";
my @kept = (qq(c null {"k":"$long","v":1}), qq(u {"k":"$long"} {"k":"$long","v":2}), qq(d {"k":"$long"} null));
brief_is(result_of($out_of_line, $touch), 'a key out of line: filled in from the old key', @kept);
$r = result_of($out_of_line, $touch, '-K', '\t', '--tombstones');
brief_is($r, 'and not taken for another key', @kept, qq({"k":"$long"}\t));
is(join(' ', map { /\A(.*?)\t/ ? length $1 : 'none' } $r->lines), join(' ', (length qq({"k":"$long"})) x 4), 'with its key in front');

# A row that comes into sight of a row filter is an insert; the value that did not change is nowhere.
SKIP: {
    skip_without($version >= 15, 'PostgreSQL 15 brought row filters', 3);
    my @existing = qw(--publication-mode=existing --publication=filtered);
    $schema = 'public';
    $pg->sql('shop', 'CREATE TABLE f (id int, seen bool, big text, PRIMARY KEY (id, seen)); ALTER TABLE f ALTER big SET STORAGE EXTERNAL;
        CREATE PUBLICATION filtered FOR TABLE f WHERE (seen)');
    $n++;
    capture(@existing)->exited(0, 'a publication with a row filter');
    $pg->sql('shop', "INSERT INTO f VALUES (1, false, '$big'); UPDATE f SET big = big || 'x'; UPDATE f SET seen = true; UPDATE f SET id = 2; UPDATE f SET seen = false");
    brief_is(capture(@existing), 'comes and goes as a row', qq(c null {"id":1,"seen":true,"big":$unavailable}),
        qq(u {"id":1,"seen":true} {"id":2,"seen":true,"big":$unavailable}), 'd {"id":2,"seen":true} null');
    $pg->sql('shop', "SELECT pg_drop_replication_slot('slot$n'); DROP PUBLICATION filtered; DROP TABLE f");
}

# ---- truncates ----

my $family = 'CREATE TABLE a (id serial PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY, a int REFERENCES a)';
sub ops_of ($r) { return join ' ', map { "$_->{op}:$_->{source}{table}:$_->{source}{tx_seq}" } $r->records }
is(ops_of(result_of($family, 'TRUNCATE b, c RESTART IDENTITY; BEGIN; INSERT INTO a DEFAULT VALUES; TRUNCATE a CASCADE; INSERT INTO a DEFAULT VALUES; COMMIT')),
    't:b:1 t:c:2 c:a:1 t:a:2 t:c:3 c:a:4', 'truncates of several tables, a record for each');
is(ops_of(result_of($family, 'TRUNCATE a, b, c', '-T', 'b')), 't:a:1 t:c:2', 'only of captured ones');

# ---- odd tables ----

brief_is(result_of('CREATE TABLE z (); ALTER TABLE z REPLICA IDENTITY FULL', 'INSERT INTO z DEFAULT VALUES; DELETE FROM z'),
    'no columns', 'c null {}', 'd {} null');
$r = result_of('CREATE TABLE w (' . join(', ', map { "c$_ int2" } 1 .. 1600) . ', PRIMARY KEY (c1600))',
    'INSERT INTO w VALUES (' . join(', ', map { $_ % 2 ? $_ : 'NULL' } 1 .. 1599) . ', 7); UPDATE w SET c1600 = 8; DELETE FROM w');
brief_is($r, '1600 columns', 'c null {' . join(',', map { qq("c$_":) . ($_ == 1600 ? 7 : $_ % 2 ? $_ : 'null') } 1 .. 1600) . '}',
    'u {"c1600":7} {' . join(',', map { qq("c$_":) . ($_ == 1600 ? 8 : $_ % 2 ? $_ : 'null') } 1 .. 1600) . '}', 'd {"c1600":8} null');
{
    my @odd = ('Mixed Case', 'quo"te', "it's", 'back\\slash', 'dot.dot', 'é日本😀', "tab\there", ' ', '{a,b}', '%s', '$1', 'NULL');
    my $q = sub ($name) { return '"' . ($name =~ s/"/""/gr) . '"' };
    my $j = sub ($name) { return '"' . ($name =~ s/(["\\])/\\$1/gr =~ s/\t/\\t/gr) . '"' };
    my $columns = join ', ', map { $q->($_) . ' int' } @odd;
    my $tables = join ';', map { 'CREATE TABLE ' . $q->($_) . " ($columns, PRIMARY KEY (" . join(', ', map { $q->($_) } @odd) . '))' } @odd;
    my $values = join ', ', 1 .. @odd;
    $r = result_of($tables, join(';', map { 'INSERT INTO ' . $q->($_) . " VALUES ($values); DELETE FROM " . $q->($_) } @odd), '--schema-events', '--transactions');
    my $row = '{' . join(',', map { $j->($odd[$_]) . ':' . ($_ + 1) } 0 .. $#odd) . '}';
    my @got = grep { /"op":"[cd]"/ } shapes($r);
    for my $table (@odd) {
        my $expected = debezium('c', $j->($table), 1, 'null', $row) =~ s/""/"/gr;
        is(shift @got, debezium('c', 'TABLE', 1, 'null', $row) =~ s/"TABLE"/$j->($table)/er, "table and columns with odd names: $table");
        is(shift @got, debezium('d', 'TABLE', 1, $row, 'null') =~ s/"TABLE"/$j->($table)/er, 'and its deletion');
    }
    is(scalar(grep { $_->{tableChanges} } $r->records), scalar @odd, 'schema events of all of them are JSON');
    is(join('|', map { $_->{data_collections}[0]{data_collection} } grep { ($_->{status} // '') eq 'END' } $r->records), join('|', map { ("$schema.$_") x 2 } @odd), 'so are transactions');
}
{
    $pg->sql('shop', 'CREATE SCHEMA "Ö ""s"" x"; CREATE TABLE "Ö ""s"" x".t (id int PRIMARY KEY)');
    ($schema, $n) = ('Ö "s" x', $n + 1);
    Cdc->run(server => $pg, db => 'shop', args => ['-S', "slot$n", '-n', encode_utf8($schema), qw(-m never -E now)])->exited(0, 'a schema with an odd name');
    $pg->sql('shop', 'INSERT INTO "Ö ""s"" x".t VALUES (1)');
    $r = Cdc->run(server => $pg, db => 'shop', args => ['-S', "slot$n", '-n', encode_utf8($schema), qw(-m never -E now)]);
    is(($r->records)[0]{source}{schema}, $schema, 'is in the record');
    forget();
}

# Tables, columns and types that are gone when their changes are read.
prepare('CREATE TABLE stays (id int); CREATE TABLE t (id int PRIMARY KEY, m text); CREATE TYPE mood AS ENUM (\'ok\'); ALTER TABLE t ADD e mood; ALTER TABLE t ADD es mood[]');
sql("INSERT INTO t VALUES (1, 'x', 'ok', '{ok}'); ALTER TABLE t DROP e, DROP es; DROP TYPE mood; INSERT INTO t VALUES (2, 'y'); ALTER TABLE t RENAME TO u; INSERT INTO u VALUES (3, 'z'); DROP TABLE u");
$r = capture('--schema-events');
$r->exited(0, 'a table that is gone');
is(join(' ', map { "$_->{source}{table}:" . canonical($_->{after}) } grep { $_->{op} } $r->records),
    't:{"e":"ok","es":"{ok}","id":1,"m":"x"} t:{"id":2,"m":"y"} u:{"id":3,"m":"z"}', 'values of types that are gone are text');
forget();

# ---- changes of columns in mid-transaction ----

my $ddl = q(BEGIN; INSERT INTO t VALUES (1, 'a'); ALTER TABLE t ADD n int DEFAULT 5; INSERT INTO t VALUES (2, 'b', 6); ALTER TABLE t DROP name;
    UPDATE t SET n = 7 WHERE id = 1; ALTER TABLE t RENAME n TO num; INSERT INTO t VALUES (3, 8); ALTER TABLE t ALTER num TYPE numeric(5,1);
    INSERT INTO t VALUES (4, 9); ALTER TABLE t RENAME TO u; INSERT INTO u VALUES (5, 10); COMMIT; INSERT INTO u VALUES (6, 11));
my @in_force = ('c null {"id":1,"name":"a"}', 'c null {"id":2,"name":"b","n":6}', 'u null {"id":1,"n":7}', 'c null {"id":3,"num":8}', 'c null {"id":4,"num":"9.0"}',
    'c null {"id":5,"num":"10.0"}', 'c null {"id":6,"num":"11.0"}');
brief_is(result_of($t, $ddl), 'each row has the columns of its time', @in_force);

prepare($t);
sql($ddl . '; INSERT INTO u VALUES (7, 12)');
$r = capture(qw(--schema-events));
$r->exited(0, 'with schema events');
my @got;
for my $record ($r->records) {
    if ($record->{op}) { push @got, "$record->{op} $record->{after}{id}"; next }
    my ($change) = @{ $record->{tableChanges} };
    push @got, join ' ', @$change{qw(type id)}, map { "$_->{position}:$_->{name}:$_->{typeName}" } @{ $change->{table}{columns} };
}
is(join("\n", @got), join("\n",
    qq(CREATE "$schema"."t" 1:id:integer 2:name:text), 'c 1', qq(ALTER "$schema"."t" 1:id:integer 2:name:text 3:n:integer), 'c 2',
    qq(ALTER "$schema"."t" 1:id:integer 2:n:integer), 'u 1', qq(ALTER "$schema"."t" 1:id:integer 2:num:integer), 'c 3',
    qq(ALTER "$schema"."t" 1:id:integer 2:num:numeric(5,1)), 'c 4', qq(ALTER "$schema"."u" 1:id:integer 2:num:numeric(5,1)), 'c 5', 'c 6', 'c 7'),
    'a schema event before the first row and before each row of other columns');
forget();

lines_are(result_of('CREATE TABLE t (id int, "é" varchar(7) NOT NULL, x numeric(9,3)[], PRIMARY KEY (id, "é"))', q(INSERT INTO t VALUES (1, 'a')), '--schema-events'), 'schema event, debezium',
    qq({"source":{"version":"1.0.0","connector":"postgresql","name":"shop","ts_ms":T,"snapshot":"false","db":"shop","sequence":S,"ts_us":T,"ts_ns":T,"schema":"$schema","table":"t","txId":null,"lsn":L,"xmin":null,"commit_lsn":null,"tx_seq":null},)
    . qq("ts_ms":T,"ts_us":T,"ts_ns":T,"tableChanges":[{"type":"CREATE","id":"\\"$schema\\".\\"t\\"","table":{"primaryKeyColumnNames":["id","é"],"columns":[)
    . qq({"name":"id","typeName":"integer","typeOid":23,"typmod":-1,"position":1},{"name":"é","typeName":"character varying(7)","typeOid":1043,"typmod":11,"position":2},)
    . qq({"name":"x","typeName":"numeric(9,3)[]","typeOid":1231,"typmod":589831,"position":3}]}}]}),
    debezium('c', 't', 1, 'null', '{"id":1,"é":"a","x":null}'));
lines_are(result_of($t, q(INSERT INTO t VALUES (1, 'a'); ALTER TABLE t ADD n int; UPDATE t SET n = 1), qw(--schema-events -e plain)), 'schema event, plain',
    qq({"op":"schema","lsn":L,"schema":"$schema","table":"t","change":"first","columns":[{"name":"id","type":"integer","type_oid":23,"key":true},{"name":"name","type":"text","type_oid":25,"key":false}]}),
    plain('c', 't', 1, '{"id":1}', '{"id":1,"name":"a"}', 'null'),
    qq({"op":"schema","lsn":L,"schema":"$schema","table":"t","change":"changed","columns":[{"name":"id","type":"integer","type_oid":23,"key":true},{"name":"name","type":"text","type_oid":25,"key":false},{"name":"n","type":"integer","type_oid":23,"key":false}]}),
    plain('u', 't', 1, '{"id":1}', '{"id":1,"name":"a","n":1}', 'null'));

# ---- keys ----

# As kcat -K does: at the first delimiter.
sub split_keys ($r, $delimiter) { return map { my $at = index $_, $delimiter; $at < 0 ? [$_] : [substr($_, 0, $at), substr $_, $at + length $delimiter] } $r->lines }
sub keys_are ($r, $delimiter, $name, @expected) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my @got = map { my ($key, $value) = @$_; ($key . ' ' . (!defined $value ? 'no delimiter' : $value eq '' ? 'tombstone' : (records("$value\n"))[0]{op} // 'other')) } split_keys($r, $delimiter);
    is(join("\n", @got), join("\n", @expected), $name);
}
my $two = q(CREATE TABLE t (a int, b text, c text, PRIMARY KEY (a, b)));
my $moves = qq(INSERT INTO t VALUES (1, E'x\\ty', 'z'); UPDATE t SET c = 'w'; UPDATE t SET a = 2; DELETE FROM t; TRUNCATE t);
my @two = map { qq({"a":$_,"b":"x\\ty"}) } 1, 2;
keys_are(result_of($two, $moves, '-K', '\t'), "\t", '-K: a key in front of each value, another key is a deletion and an insert',
    "$two[0] c", "$two[0] u", "$two[0] d", "$two[1] c", "$two[1] d", ' t');
keys_are(result_of($two, $moves, '-K', '\t', '--tombstones'), "\t", '--tombstones: an empty value behind each deletion',
    "$two[0] c", "$two[0] u", "$two[0] d", "$two[0] tombstone", "$two[1] c", "$two[1] d", "$two[1] tombstone", ' t');
brief_is(result_of($t, "INSERT INTO t VALUES (1, 'a'); UPDATE t SET id = 2", '-K', '\t'), 'the two records of a move',
    'c null {"id":1,"name":"a"}', 'd {"id":1} null', 'c null {"id":2,"name":"a"}');
$r = result_of($t, "INSERT INTO t VALUES (1, 'a'); BEGIN; UPDATE t SET id = 2; UPDATE t SET name = 'b'; COMMIT", qw(-K | -e plain));
is(join(' ', map { s/\A.*?\|//r } grep { !/\|\z/ } map { my ($v) = records((split_keys_line($_))[1] . "\n"); "$v->{op}:$v->{seq}" } $r->lines), 'c:1 d:1 c:2 u:3', 'which have a place each');
sub split_keys_line ($line) { return split /\|/, $line, 2 }
$r = result_of("$wide ALTER TABLE t REPLICA IDENTITY FULL", "INSERT INTO t VALUES (1, 'a', '$big'); UPDATE t SET code = 'b'; UPDATE t SET id = 2", '-K', '\t');
keys_are($r, "\t", 'identity full and a primary key: that is the key', '{"id":1} c', '{"id":1} u', '{"id":1} d', '{"id":2} c');
is((brief($r))[3], qq(c null {"id":2,"code":"b","big":"$big"}), 'the moved row is complete');
brief_is(result_of($wide, "INSERT INTO t VALUES (1, 'a', '$big'); UPDATE t SET id = 2", '-K', '\t'), 'where a value was not sent it stays unavailable in the insert',
    qq(c null {"id":1,"code":"a","big":"$big"}), 'd {"id":1} null', qq(c null {"id":2,"code":"a","big":$unavailable}));
keys_are(result_of("$wide ALTER TABLE t REPLICA IDENTITY USING INDEX by_code", "INSERT INTO t VALUES (1, 'a', 'y'); UPDATE t SET id = 2; UPDATE t SET code = 'b'", '-K', '\t'), "\t",
    'identity by index: its columns', '{"code":"a"} c', '{"code":"a"} u', '{"code":"a"} d', '{"code":"b"} c');
keys_are(result_of('CREATE TABLE t (a int, b text); ALTER TABLE t REPLICA IDENTITY FULL', "INSERT INTO t VALUES (1, NULL); DELETE FROM t", '-K', '\t'), "\t",
    'identity full, no primary key: the whole row', '{"a":1,"b":null} c', '{"a":1,"b":null} d');
keys_are(result_of('CREATE TABLE t (a int)', 'INSERT INTO t VALUES (1)', '-K', '\t'), "\t", 'no identity: an empty key', ' c');
for (['\x1f', "\x1f"], ['\0', "\0"], ['\\\\', '\\'], ['=>', '=>'], ['\x09\x41', "\tA"], ['\r', "\r"], ['é', encode_utf8('é')], ['\x1', "\x01"]) {
    my ($typed, $bytes) = @$_;
    $r = result_of($t, "INSERT INTO t VALUES (1, 'a')", '-K', encode_utf8($typed));
    is(shape($r->out), qq({"id":1}) . decode_utf8($bytes) . debezium('c', 't', 1, 'null', '{"id":1,"name":"a"}') . "\n", "-K '$typed'");
}

# ---- transactions ----

my $three = 'CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY)';
my $work = 'BEGIN; INSERT INTO a VALUES (1), (2); INSERT INTO b VALUES (1); DELETE FROM a WHERE id = 1; COMMIT; INSERT INTO c VALUES (1); BEGIN; INSERT INTO a VALUES (9); ROLLBACK; INSERT INTO b VALUES (2)';
prepare($three);
sql($work);
$r = capture(qw(--transactions -T c));
my ($begin, $end) = ('{"status":"BEGIN","id":"X:L","event_count":null,"data_collections":null,"ts_ms":T}', '{"status":"END","id":"X:L","event_count":%d,"data_collections":[%s],"ts_ms":T}');
my $count = sub ($table, $events) { return qq({"data_collection":"$schema.$table","event_count":$events}) };
lines_are($r, '--transactions, of captured tables', $begin, (map { debezium('c', @$_) } ['a', 1, 'null', '{"id":1}'], ['a', 2, 'null', '{"id":2}'], ['b', 3, 'null', '{"id":1}']),
    debezium('d', 'a', 4, '{"id":1}', 'null'), sprintf($end, 4, $count->('a', 3) . ',' . $count->('b', 1)), $begin, debezium('c', 'b', 1, 'null', '{"id":2}'), sprintf($end, 1, $count->('b', 1)));
my @marks = $r->records;
is($marks[0]{id}, "$marks[1]{source}{txId}:$marks[1]{source}{commit_lsn}", 'their id is transaction and commit');
is($marks[5]{id}, $marks[0]{id}, 'END has that of BEGIN');
is($marks[0]{ts_ms}, $marks[1]{source}{ts_ms}, 'their time is that of the commit');
forget();
$r = result_of($three, $work, qw(--transactions -e plain --skip-ops=d));
my @plain_marks = ('{"op":"begin","commit_lsn":L,"end_lsn":null,"xid":X,"ts":T}', '{"op":"end","commit_lsn":L,"end_lsn":L,"xid":X,"ts":T,"tables":[%s]}');
my $events = sub ($table, $events) { return qq({"schema":"$schema","table":"$table","events":$events}) };
lines_are($r, '--transactions, plain, without what is left out', $plain_marks[0], (map { plain('c', $_->[0], $_->[1], $_->[2], $_->[2], 'null') } ['a', 1, '{"id":1}'], ['a', 2, '{"id":2}'], ['b', 3, '{"id":1}']),
    sprintf($plain_marks[1], $events->('a', 2) . ',' . $events->('b', 1)), $plain_marks[0], plain('c', 'c', 1, '{"id":1}', '{"id":1}', 'null'), sprintf($plain_marks[1], $events->('c', 1)),
    $plain_marks[0], plain('c', 'b', 1, '{"id":2}', '{"id":2}', 'null'), sprintf($plain_marks[1], $events->('b', 1)));
is(result_of($three, 'INSERT INTO a VALUES (1); DELETE FROM a', qw(--transactions --skip-ops=cd))->out, '', 'a transaction without records has no marks');
$r = result_of($three, 'INSERT INTO a VALUES (1)', qw(--transactions --schema-events -K |));
is(join(' ', map { /\A(.*?)\|/ ? $1 =~ s/\d+/N/r : 'none' } $r->lines), '{"txId":N} {"table":"a"} {"id":N} {"txId":N}', 'keys of these records');

# ---- messages ----

SKIP: {
    skip_without($version >= 14, 'PostgreSQL 14 brought messages to pgoutput', 1);
    my $say = q(SELECT pg_logical_emit_message(false, 'free "é"', 'one'); BEGIN; INSERT INTO t VALUES (1, 'a');
        SELECT pg_logical_emit_message(true, 'in', '\x00ff10'::bytea); SELECT pg_logical_emit_message(false, 'early', ''); INSERT INTO t VALUES (2, 'b'); COMMIT;
        BEGIN; INSERT INTO t VALUES (3, 'c'); SELECT pg_logical_emit_message(true, 'lost', 'x'); SELECT pg_logical_emit_message(false, 'stays', 'x'); ROLLBACK;
        SELECT pg_logical_emit_message(true, 'alone', 'y'));
    my $free = sub ($prefix, $content) {
        return (source('', 0) =~ s/"txId":X/"txId":null/r =~ s/"commit_lsn":L,"tx_seq":0/"commit_lsn":null,"tx_seq":null/r =~ s/"schema":"\w+"/"schema":""/r =~ s/\A/{/r)
            . qq(,"op":"m","ts_ms":T,"ts_us":T,"ts_ns":T,"message":{"prefix":$prefix,"content":"$content"}});
    };
    my $inside = sub ($prefix, $content, $seq) {
        return '{' . (source('', $seq) =~ s/"schema":"\w+"/"schema":""/r) . qq(,"op":"m","ts_ms":T,"ts_us":T,"ts_ns":T,"message":{"prefix":"$prefix","content":"$content"}});
    };
    prepare($t);
    sql($say);
    $pg->sql('shop', "SELECT pg_copy_logical_replication_slot('slot$n', 'copy$_')") for 1 .. 3;
    my @copy = ('-n', $schema, '--publication', "cdcdump_slot$n", qw(-m never -E now));
    $r = capture('--messages');
    lines_are($r, '--messages', $free->('"free \"é\""', 'b25l'), $free->('"early"', ''), debezium('c', 't', 1, 'null', '{"id":1,"name":"a"}'), $inside->('in', 'AP8Q', 2),
        debezium('c', 't', 3, 'null', '{"id":2,"name":"b"}'), $free->('"stays"', 'eA=='), $inside->('alone', 'eQ==', 1));
    is((Cdc->run(server => $pg, db => 'shop', args => ['-S', 'copy1', @copy])->records)[1]{after}{id}, 2, 'without --messages there are none');
    is(ops_of(Cdc->run(server => $pg, db => 'shop', args => ['-S', 'copy2', @copy, qw(--messages --skip-ops=m)])), 'c:t:1 c:t:3', '--skip-ops=m: their places stay empty');
    $r = Cdc->run(server => $pg, db => 'shop', args => ['-S', 'copy3', @copy, qw(--messages -e plain -K), '\t']);
    is(shape((map { s/\A.*\t//r } grep { /"early"\}\t/ } $r->lines)[0]), '{"op":"m","lsn":L,"commit_lsn":null,"seq":null,"xid":null,"ts":null,"prefix":"early","content":""}', 'plain, outside of a transaction');
    is(shape((map { s/\A.*\t//r } grep { /"in"\}\t/ } $r->lines)[0]), '{"op":"m","lsn":L,"commit_lsn":L,"seq":2,"xid":X,"ts":T,"prefix":"in","content":"AP8Q"}', 'plain, in a transaction');
    is((map { decode_utf8($_) =~ s/\t.*//r } $r->lines)[0], '{"prefix":"free \"é\""}', 'their key is the prefix');
    $pg->sql('postgres', "SELECT pg_drop_replication_slot('copy$_')") for 1 .. 3;
    is(capture('--messages')->out, '', 'a message outside of a transaction comes once, too');
    forget();
}

# ---- heartbeats ----

for my $envelope (qw(debezium plain)) {
    prepare($t);
    my @old = split ' ', $pg->sql('shop', 'SELECT pg_current_wal_lsn()');
    my $c = Cdc->start(server => $pg, db => 'shop', args => ['-S', "slot$n", '-n', $schema, qw(-m never --heartbeat 0.1 -K | -e), $envelope]);
    my @beats = $c->read_lines(3, 20);
    sql("INSERT INTO t VALUES (1, 'a')");
    my ($change) = grep { /"op":"c"/ } $c->read_until(qr/"op":"c"/, 20);
    my $after = ($c->read_lines(2, 20))[1];
    $c->stop->exited(0, 'stops');
    my $shape = $envelope eq 'plain' ? '{"op":"heartbeat","lsn":L,"ts":T}' : '{"serverName":"shop","lsn":L,"ts_ms":T,"ts_us":T,"ts_ns":T}';
    is(shape($_), qq({"serverName":"shop"}|$shape), "--heartbeat, $envelope") for @beats, $after;
    s/\A[^|]*\|// for @beats, $after, $change;
    my $lsn = sub ($line) { my ($r) = records("$line\n"); return $r->{lsn} =~ m{/} ? lsn_num($r->{lsn}) : $r->{lsn} };
    my ($record) = records("$change\n");
    my $commit = $envelope eq 'plain' ? lsn_num($record->{commit_lsn}) : $record->{source}{commit_lsn};
    cmp_ok($lsn->($after), '>', $commit, 'its position has passed the change by then');
    cmp_ok($lsn->($beats[0]), '<=', $commit, 'and had not before');
    forget();
}

# ---- operations, names and columns that are left out ----

prepare($t);
sql("BEGIN; INSERT INTO t VALUES (1, 'a'); UPDATE t SET name = 'b'; DELETE FROM t; TRUNCATE t; COMMIT");
my %left = ('c' => 'u:t:2 d:t:3 t:t:4', 'u' => 'c:t:1 d:t:3 t:t:4', 'd' => 'c:t:1 u:t:2 t:t:4', 't' => 'c:t:1 u:t:2 d:t:3', 'm' => 'c:t:1 u:t:2 d:t:3 t:t:4',
    'none' => 'c:t:1 u:t:2 d:t:3 t:t:4', 'cudtm' => '', 'tc' => 'u:t:2 d:t:3');
for my $ops (sort keys %left) {
    $pg->sql('shop', "SELECT pg_copy_logical_replication_slot('slot$n', 'skip_$ops')");
    my $r = Cdc->run(server => $pg, db => 'shop', args => ['-S', "skip_$ops", '-n', $schema, '--publication', "cdcdump_slot$n", qw(-m never -E now), "--skip-ops=$ops"]);
    $r->exited(0, "--skip-ops=$ops");
    is(ops_of($r), $left{$ops}, "--skip-ops=$ops leaves the others where they were");
    $pg->sql('postgres', "SELECT pg_drop_replication_slot('skip_$ops')");
}
forget();

for my $name ('other', q(a "b" é)) {
    $r = result_of($t, "INSERT INTO t VALUES (1, 'a')", '--server-name', encode_utf8($name), '--transactions');
    is(join(' ', map { "$_->{source}{name} $_->{source}{db}" } grep { $_->{op} } $r->records), "$name shop", "--server-name $name");
}

my $secret = 'CREATE TABLE t (id int PRIMARY KEY, secret text, name text, "Secret" text); CREATE TABLE u (id int PRIMARY KEY, secret text); ALTER TABLE t REPLICA IDENTITY FULL';
$r = result_of($secret, q(INSERT INTO t VALUES (1, 's', 'n', 'S'); UPDATE t SET name = 'm'; DELETE FROM t; INSERT INTO u VALUES (1, 's')), '--exclude-column', '.*\.t\.secret', '--schema-events');
is(join("\n", grep { /\A[cud] / } brief($r)), join("\n", 'c null {"id":1,"name":"n","Secret":"S"}', 'u {"id":1,"name":"n","Secret":"S"} {"id":1,"name":"m","Secret":"S"}',
    'd {"id":1,"name":"m","Secret":"S"} null', 'c null {"id":1,"secret":"s"}'), '--exclude-column: in no row');
is(join(' ', map { $_->{name} } @{ ($r->records)[0]{tableChanges}[0]{table}{columns} }), 'id name Secret', 'and in no schema event');
is($r->err =~ /warning/, '', 'nothing to warn about');
brief_is(result_of($secret, q(INSERT INTO t VALUES (1, 's', 'n', 'S')), '--exclude-column', '(?i).*secret', '--exclude-column', '.*\.name'), 'several patterns, without case', 'c null {"id":1}');
my $key = result_of($secret, q(INSERT INTO u VALUES (1, 's'); DELETE FROM u), '--exclude-column', '.*\.u\..*');
brief_is($key, 'a column of the key is never left out', 'c null {"id":1}', 'd {"id":1} null');
like($key->err, qr/^cdcdump: warning: column "$schema\.u\.id" is part of the table's key and is not left out$/m, 'which is said');
$key = result_of($secret, q(INSERT INTO t VALUES (1, 's', 'n', 'S'); DELETE FROM t), '--exclude-column', '.*\.t\.(id|secret)');
brief_is($key, 'nor one of the primary key with identity full', 'c null {"id":1,"name":"n","Secret":"S"}', 'd {"id":1,"name":"n","Secret":"S"} null');
like($key->err, qr/^cdcdump: warning: column "$schema\.t\.id" is part/m, 'which is said');
$r = result_of('CREATE TABLE t (id int PRIMARY KEY, j json)', q(INSERT INTO t VALUES (1, '{}')), '--exclude-column', '.*\.nothing');
like($r->err, qr/^cdcdump: warning: the pattern "\.\*\\\.nothing" of --exclude-column matches nothing$/m, 'a pattern that matches no column');

# No column at all is left of a table without a key.
brief_is(result_of('CREATE TABLE t (a int)', 'INSERT INTO t VALUES (1)', '--exclude-column', '.*\.a'), 'every column left out', 'c null {}');

done_testing;
