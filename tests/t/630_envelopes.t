# The envelopes flink, debezium-0.9 and plain: which records, which fields, in which order; keys and
# tombstones with them.
use v5.36;
use utf8;
use CdcTest;
use Time::HiRes qw(time);

my $pg = PgServer->new(extra_conf => { max_replication_slots => 60 });
$pg->create_db('shop');
my $dir = scratch();

sub sql ($text) { return $pg->sql('shop', $text) }
sub run ($slot, @args) {
    return Cdc->run(server => $pg, db => 'shop', args => [-S => $slot, qw(-m never -E now), @args]);
}

# Names of fields of a line's objects in their order: "before after source{version …} op ts_ms".
sub fields ($line) {
    my $text = $line =~ s/"((?:[^"\\]|\\.)*)"(:?)/$2 ? "$1:" : '_'/ger;
    $text =~ s/:[^{,}\[\]]+/ /g;
    $text =~ s/[,:]/ /g;
    return $text =~ s/\s+/ /gr =~ s/\s*([{}])\s*/$1/gr;
}

# id: FULL, key, FULL again, for what each identity gives.
sql(q(CREATE TABLE whole (id int PRIMARY KEY, v text, n numeric(5,2)); ALTER TABLE whole REPLICA IDENTITY FULL;
    CREATE TABLE part (id int PRIMARY KEY, v text); ALTER TABLE part ALTER v SET STORAGE EXTERNAL;
    CREATE TABLE "Odd ""T" (id int PRIMARY KEY)));
my @slots = qw(all upsert keyed old09 old09_keyed plain csv_keyed);
sql("SELECT pg_create_logical_replication_slot('$_', 'pgoutput')") for @slots;
sql('CREATE PUBLICATION p FOR TABLE whole, part, "Odd ""T"');
my @given = ('--publication=p', '--publication-mode=existing');
my $before = time;
sql(q(INSERT INTO whole VALUES (1, 'a', 1.5); UPDATE whole SET v = NULL; UPDATE whole SET id = 2; DELETE FROM whole));
sql(q(INSERT INTO part VALUES (1, repeat('x', 3000)); UPDATE part SET v = v; UPDATE part SET id = 3; DELETE FROM part; BEGIN; INSERT INTO part VALUES (4, 'a'), (5, 'b'); COMMIT));
my $after = time;

# ---- flink ----

my $head = qr/"table_name":"(\w+)","schema_name":"public","database_name":"shop","op_ts":(\d+),"row":/;

# "+I{…}" of a table, in their order.
sub changelog ($r, $table) {
    my @records;
    for ($r->lines) {
        my ($kind, $of, $ts, $row) = /\A(?:.*?\t)?\{"row_kind":"(..)",$head(\{.*\})\}\z/s or next;
        next if $of ne $table;
        push @records, $kind . $row;
        fail("op_ts of $kind is the time of the commit, in milliseconds") if $ts < $before * 1000 - 1 || $ts > $after * 1000 + 1;
    }
    return join "\n", @records;
}

my $all = run('all', qw(-e flink -t whole), @given);
$all->exited(0, 'all: status 0');
is(changelog($all, 'whole'), join("\n",
    '+I{"id":1,"v":"a","n":"1.50"}',
    '-U{"id":1,"v":"a","n":"1.50"}', '+U{"id":1,"v":null,"n":"1.50"}',
    '-U{"id":1,"v":null,"n":"1.50"}', '+U{"id":2,"v":null,"n":"1.50"}',
    '-D{"id":2,"v":null,"n":"1.50"}'), 'all: each change with its old row');
is(scalar(() = $all->lines), 6, 'all: nothing else');
is(fields(($all->lines)[0]), '{row_kind table_name schema_name database_name op_ts row{id v n}}', 'all: the fields, in order');

my $upsert = run('upsert', qw(-e flink --changelog-mode=upsert), @given);
$upsert->exited(0, 'upsert: status 0');
is(changelog($upsert, 'whole'), join("\n", '+I{"id":1,"v":"a","n":"1.50"}', '+U{"id":1,"v":null,"n":"1.50"}',
    '-D{"id":1,"v":null,"n":"1.50"}', '+I{"id":2,"v":null,"n":"1.50"}', '-D{"id":2,"v":null,"n":"1.50"}'), 'upsert: no old rows, a new key as -D and +I');
my $big = 'x' x 3000;
is(changelog($upsert, 'part'), join("\n", qq(+I{"id":1,"v":"$big"}), '+U{"id":1,"v":"__debezium_unavailable_value"}', '-D{"id":1}', '+I{"id":3,"v":"__debezium_unavailable_value"}',
    '-D{"id":3}', '+I{"id":4,"v":"a"}', '+I{"id":5,"v":"b"}'), 'upsert: with the key alone, what the server sends');

my $keyed = run('keyed', qw(-e flink --changelog-mode=upsert -K \t --tombstones), @given);
$keyed->exited(0, 'flink with keys: status 0');
is(join("\n", map { my ($key, $value) = split /\t/, $_, 2; $value eq '' ? $key : "$key " . ($value =~ /"row_kind":"(..)"/)[0] } grep { /"table_name":"part"/ || /\t\z/ } $keyed->lines),
    join("\n", '{"id":1}', '{"id":2}', map({ $_ } '{"id":1} +I', '{"id":1} +U', '{"id":1} -D', '{"id":1}', '{"id":3} +I', '{"id":3} -D', '{"id":3}', '{"id":4} +I', '{"id":5} +I')),
    'flink with keys: a tombstone behind each -D');

# rows
sql('INSERT INTO whole VALUES (7, $$r$$, 7)');
my $rows = Cdc->run(server => $pg, db => 'shop', args => [-S => 'rows', qw(-m initial_only -t whole -e flink)]);
$rows->exited(0, 'flink: rows');
is($rows->out, qq({"row_kind":"+I","table_name":"whole","schema_name":"public","database_name":"shop","op_ts":0,"row":{"id":7,"v":"r","n":"7.00"}}\n), 'flink: op_ts of rows is 0');

# what it needs
for my $case ([[], 'public\.part'], [['-t', '(part|Odd "T|whole)'], '(public\.part, public\.Odd "T|public\.Odd "T, public\.part)']) {
    my $r = run('needs', '-e', 'flink', @{ $case->[0] }, @given);
    $r->exited(2, "all without FULL (@{$case->[0]}): status 2");
    like($r->err, qr/^cdcdump: error: changelog mode "all" needs REPLICA IDENTITY FULL of every captured table\nDETAIL:  These have another one: .*$case->[1]/m, 'the tables are named');
    unlike($r->err, qr/DETAIL:.*whole/, 'but not that which has it');
}
Cdc->run(server => $pg, db => 'shop', args => [-S => 'needs', qw(-m initial_only -e flink -t part)])->exited(0, 'all without FULL: rows alone need none');
run('needs', qw(-e flink -t part --skip-ops=ud))->exited(0, 'all without FULL: inserts alone need none');

# ---- debezium-0.9 ----

my $old09 = run('old09', '-e', 'debezium-0.9', '--server-name=test-prefix', @given);
$old09->exited(0, 'debezium-0.9: status 0');
my @lines = $old09->lines;
my $source = 'source{version connector name db ts_usec txId lsn schema table snapshot last_snapshot_record}';
is(fields($lines[0]), "{before after{id v n}$source" . 'op ts_ms}', 'debezium-0.9: the fields of the sample, in order');
{
    my @records = $old09->records;
    is(gist(\@records), 'c1 u1..2 d2 c1 u1 u3 d3 c4..5 c7', 'debezium-0.9: one record a change, new keys too');
    my ($c) = @records;
    my $xid = sql("SELECT txid_current()");
    is(canonical({ map { $_ => $c->{source}{$_} } qw(version connector name db schema table last_snapshot_record) }),
        canonical({ version => '0.9.2.Final', connector => 'postgresql', name => 'test-prefix', db => 'shop', schema => 'public', table => 'whole', last_snapshot_record => undef }), 'debezium-0.9: the source');
    like($lines[0], qr/"snapshot":false,"last_snapshot_record":null\},"op":"c","ts_ms":\d{13}\}\z/, 'debezium-0.9: a boolean and a null');
    ok($c->{source}{ts_usec} >= $before * 1e6 - 1000 && $c->{source}{ts_usec} <= $after * 1e6 + 1000, 'debezium-0.9: ts_usec is the time of the commit');
    ok($c->{source}{txId} > 0 && $c->{source}{txId} < $xid, 'debezium-0.9: txId');
    ok($c->{source}{lsn} > 0 && $c->{source}{lsn} < lsn_num($pg->wal_lsn), 'debezium-0.9: lsn is a number');
    is(join(' ', map { defined $_->{before} ? canonical($_->{before}) : 'null' } @records[4 .. 7]), 'null null {"id":1} {"id":3}', 'debezium-0.9: before has what was sent');
    is($records[5]{after}{v}, '__debezium_unavailable_value', 'debezium-0.9: the placeholder');
}
my $rows09 = Cdc->run(server => $pg, db => 'shop', args => [-S => 'rows', qw(-m initial_only -t whole -e debezium-0.9)]);
like($rows09->out, qr/\A\{"before":null,"after":\{"id":7,"v":"r","n":"7\.00"\},"source":\{.*"snapshot":true,"last_snapshot_record":true\},"op":"r","ts_ms":\d+\}\n\z/, 'debezium-0.9: the last row');
is(fields(($rows09->lines)[0]), "{before after{id v n}$source" . 'op ts_ms}', 'debezium-0.9: rows have the same fields');
sql('INSERT INTO whole VALUES (8, $$r$$, 7)');
$rows09 = Cdc->run(server => $pg, db => 'shop', args => [-S => 'rows', qw(-m initial_only -t whole -e debezium-0.9)]);
is(join(' ', $rows09->out =~ /"last_snapshot_record":(\w+)/g), 'false true', 'debezium-0.9: rows before the last one');

my $keyed09 = run('old09_keyed', qw(-e debezium-0.9 -K | --tombstones -t part), @given);
is(join(' ', map { my ($key, $value) = split /\|/, $_, 2; $value eq '' ? $key : $key . ($value =~ /"op":"(.)"/)[0] } $keyed09->lines),
    '{"id":1}c {"id":1}u {"id":1}d {"id":1} {"id":3}c {"id":3}d {"id":3} {"id":4}c {"id":5}c', 'debezium-0.9 with keys: new keys as d and c, tombstones');

# ---- plain ----

my $plain = run('plain', '-e', 'plain', @given);
my @plain = $plain->records;
is(fields(($plain->lines)[0]), '{op lsn commit_lsn seq xid ts schema table key{id}row{id v n}old}', 'plain: the fields, in order');
like(($plain->lines)[0], qr{\A\{"op":"c","lsn":"[0-9A-F]+/[0-9A-F]+","commit_lsn":"[0-9A-F]+/[0-9A-F]+","seq":1,"xid":\d+,"ts":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z","schema":"public","table":"whole",}, 'plain: their forms');
is(join(' ', map { "$_->{op}$_->{seq}" } @plain), 'c1 u1 u1 d1 c1 u1 u1 d1 c1 c2 c1 c1', 'plain: one record a change');
is(join(' ', map { canonical($_->{key}) } @plain[2, 3, 6, 7]), '{"id":2} {"id":2} {"id":3} {"id":3}', 'plain: keys');

# ---- with other options ----

for my $case (
    [[qw(--changelog-mode=upsert)], qr/--changelog-mode needs -e flink/],
    [[qw(-e plain --changelog-mode=all)], qr/--changelog-mode needs -e flink/],
    [[qw(-e flink --changelog-mode=some)], qr/invalid changelog mode "some": must be one of all, upsert/],
    [[qw(-e xml)], qr/invalid envelope "xml": must be one of debezium, debezium-0\.9, flink, plain/],
    [[qw(-F xml)], qr/invalid format "xml": must be one of ndjson, csv, avro/],
    [[qw(-e flink --transactions)], qr/--transactions and -e flink cannot be used together/],
    [[qw(-e flink --schema-events)], qr/--schema-events and -e flink cannot be used together/],
    [[qw(-e flink --messages)], qr/--messages and -e flink cannot be used together/],
    [[qw(-e flink --heartbeat=1)], qr/--heartbeat and -e flink cannot be used together/],
    [[qw(--tombstones)], qr/tombstones/],
    [['--types=java'], qr/invalid types profile "java": must be one of readable, debezium|"java": must be one of readable, debezium/],
    [['--set', 'decimal.handling.mode=exact'], qr/decimal\.handling\.mode.*(?s:.*)precise, double, string/],
    [['--set', 'time.precision.mode=x'], qr/time\.precision\.mode.*(?s:.*)adaptive, adaptive_time_microseconds, connect, isostring, microseconds, nanoseconds/],
    [['--set', 'interval.handling.mode=x'], qr/interval\.handling\.mode.*(?s:.*)numeric, string/],
    [['--set', 'binary.handling.mode=x'], qr/binary\.handling\.mode.*(?s:.*)bytes, base64, base64-url-safe, hex/],
    [['--set', 'hstore.handling.mode=x'], qr/hstore\.handling\.mode.*(?s:.*)json, map/],
    [['--set', 'include.unknown.datatypes=x'], qr/include\.unknown\.datatypes/],
    [['--set', 'money.fraction.digits=x'], qr/money\.fraction\.digits/],
    [['--set', 'some.handling.mode=x'], qr/some\.handling\.mode/],
    [['--set', 'decimal.handling.mode'], qr/decimal\.handling\.mode/],
) {
    my ($args, $message) = @$case;
    my $r = Cdc->run(args => [-S => 'x', @$args]);
    $r->exited(2, "@$args: status 2");
    like($r->err, $message, "@$args: why");
}

# The other records in debezium-0.9 have its source block.
sql("SELECT pg_create_logical_replication_slot('others', 'pgoutput')");
sql(q(BEGIN; INSERT INTO whole VALUES (20, 'x', 1); SELECT pg_logical_emit_message(true, 'p', 'text'); COMMIT; TRUNCATE whole));
my $others = run('others', qw(-e debezium-0.9 --transactions --schema-events), $pg->version >= 14 ? '--messages' : (), @given);
$others->exited(0, 'debezium-0.9: other records');
ok(eval { my @records = $others->records; @records >= 5 }, 'debezium-0.9: all of them JSON') or diag($others->out);
for my $line (grep { /"op":"[tm]"/ } $others->lines) {
    like($line, qr/"source":\{"version":"0\.9\.2\.Final".*"last_snapshot_record":null\}/, 'debezium-0.9: with the source of it');
}

# The placeholder of one's own, and in other forms.
sql(q(CREATE TABLE big (id int PRIMARY KEY, n int, t text, b bytea, a text[], j jsonb); ALTER TABLE big ALTER t SET STORAGE EXTERNAL, ALTER b SET STORAGE EXTERNAL, ALTER a SET STORAGE EXTERNAL, ALTER j SET STORAGE EXTERNAL));
run("placed$_", '-t', 'big')->exited(0, 'placeholder: a slot') for 1 .. 3;
sql(q(INSERT INTO big SELECT 1, 1, s, s::bytea, ARRAY[s], to_jsonb(s) FROM repeat('x', 3000) s; UPDATE big SET n = 2));
is(((run('placed1', '-t', 'big')->lines)[1] =~ /"after":(.*?),"source"/)[0],
    '{"id":1,"n":2,"t":"__debezium_unavailable_value","b":"__debezium_unavailable_value","a":"__debezium_unavailable_value","j":"__debezium_unavailable_value"}', 'placeholder: readable');
is(((run('placed2', '-t', 'big', '--types=debezium')->lines)[1] =~ /"after":(.*?),"source"/)[0],
    '{"id":1,"n":2,"t":"__debezium_unavailable_value","b":"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==","a":["__debezium_unavailable_value"],"j":"__debezium_unavailable_value"}', 'placeholder: as Debezium has it');
is(((run('placed3', '-t', 'big', '--types=debezium', '--set', 'unavailable.value.placeholder=hex:2d2d')->lines)[1] =~ /"after":(.*?),"source"/)[0],
    '{"id":1,"n":2,"t":"--","b":"LS0=","a":["--"],"j":"--"}', "placeholder: of one's own");

done_testing;
