# Values: every type, in both envelopes, in text and binary form.  The expected JSON is written by
# hand from CONTRACT section 6 and PostgreSQL's documentation.
use v5.36;
use utf8;
use Encode qw(encode_utf8 decode_utf8);
use CdcTest;

# A server, a database and a user's environment that would all like values to look otherwise.
my $pg = PgServer->new(extra_conf => {
    timezone => 'America/New_York', datestyle => 'SQL, DMY', intervalstyle => 'sql_standard',
    bytea_output => 'escape', extra_float_digits => -10, max_replication_slots => 60,
});
$pg->create_db('shop');
$pg->sql('shop', q(ALTER DATABASE shop SET datestyle = 'German';
    ALTER DATABASE shop SET timezone = 'Asia/Kolkata';
    ALTER ROLE postgres SET intervalstyle = 'postgres_verbose'));
my %env = (PGTZ => 'Asia/Tokyo', PGDATESTYLE => 'Postgres, MDY', PGCLIENTENCODING => 'LATIN1',
    PGOPTIONS => '-c bytea_output=escape -c extra_float_digits=0');

my $version = $pg->version;
my %has = map { $_ => 1 } split /\n/, $pg->sql('shop', 'SELECT name FROM pg_available_extensions');
for my $extension (qw(hstore citext ltree)) {
    $pg->sql('shop', "CREATE EXTENSION $extension") if $has{$extension};
}
$pg->sql('shop', q(
    CREATE TYPE mood AS ENUM ('sad', 'ok', 'very "sad", é');
    CREATE TYPE pair AS (n int, label text, d date);
    CREATE DOMAIN positive AS int4 CHECK (VALUE > 0);
    CREATE DOMAIN small AS positive CHECK (VALUE < 100);
    CREATE DOMAIN label AS text;
    CREATE DOMAIN price AS numeric(12,2);
    CREATE DOMAIN moment AS timestamptz;
    CREATE DOMAIN ints AS int4[];
    CREATE DOMAIN doc AS jsonb;
));

# [type, SQL literal, JSON].  A "!" in front of the type: its binary form is not known; in front
# of it may stand "N+" or an extension that it needs.
my @cases = (
    ['bool', 'true', 'true'], ['bool', 'false', 'false'],
    ['int2', '-32768', '-32768'], ['int2', '32767', '32767'],
    ['int4', '0', '0'], ['int4', '-2147483648', '-2147483648'], ['int4', '2147483647', '2147483647'],
    ['int8', '-9223372036854775808', '-9223372036854775808'],
    ['int8', '9223372036854775807', '9223372036854775807'],
    ['int8', '9007199254740993', '9007199254740993'],
    ['oid', '4294967295', '4294967295'],

    ['float4', '0.1', '0.1'], ['float4', '1.1', '1.1'], ['float4', '-0', '-0'],
    ['float4', '3.4028235e38', '3.4028235e+38'], ['float4', '1e-45', '1e-45'],
    ['float4', '16777216', '1.6777216e+07'], ['float4', '100000', '100000'],
    ['float4', 'NaN', '"NaN"'], ['float4', 'Infinity', '"Infinity"'], ['float4', '-inf', '"-Infinity"'],
    ['float8', '0.1', '0.1'], ['float8', '0.30000000000000004', '0.30000000000000004'],
    ['float8', '1e300', '1e+300'], ['float8', '-0', '-0'], ['float8', '5e-324', '5e-324'],
    ['float8', '1.7976931348623157e308', '1.7976931348623157e+308'],
    ['float8', '123456789012345', '123456789012345'], ['float8', '1e15', '1e+15'], ['float8', '0.00001', '1e-05'],
    ['float8', '0.0001', '0.0001'], ['float8', '-2.5', '-2.5'], ['float8', '2.2250738585072014e-308', '2.2250738585072014e-308'],
    ['float8', 'NaN', '"NaN"'], ['float8', 'inf', '"Infinity"'], ['float8', '-Infinity', '"-Infinity"'],

    ['numeric', '1234567890123456789012345678901234567890.0123456789', '"1234567890123456789012345678901234567890.0123456789"'],
    ['numeric', '-0.000', '"0.000"'], ['numeric', 'NaN', '"NaN"'], ['numeric', '1e20', '"100000000000000000000"'],
    ['numeric', '0.00000000000000000001', '"0.00000000000000000001"'], ['numeric', '10000', '"10000"'],
    ['numeric', '-99999999', '"-99999999"'], ['numeric', '0.00010', '"0.00010"'],
    ['numeric(10,2)', '1.5', '"1.50"'], ['numeric(10,2)', '-12345678.9', '"-12345678.90"'],
    ['14+numeric', 'Infinity', '"Infinity"'], ['14+numeric', '-Infinity', '"-Infinity"'],
    ['15+numeric(5,-2)', '12345', '"12300"'],

    ['char(5)', 'ab', '"ab   "'], ['char(3)', 'é', '"é  "'], ['bpchar', 'x ', '"x "'], ['varchar(10)', 'x y', '"x y"'],
    ['varchar', '', '""'], ['text', '', '""'], ['text', 'NULL', '"NULL"'], ['text', '  a  ', '"  a  "'],
    ['text', q(say "it's" \\ / <&>), q("say \"it's\" \\\\ / <&>")],
    ['text', join('', map { chr } 1 .. 31),
        '"\u0001\u0002\u0003\u0004\u0005\u0006\u0007\b\t\n\u000b\f\r\u000e\u000f\u0010\u0011\u0012\u0013\u0014\u0015'
        . '\u0016\u0017\u0018\u0019\u001a\u001b\u001c\u001d\u001e\u001f"'],
    ['text', "a\x{7f}b\x{85}c", "\"a\x{7f}b\x{85}c\""],
    ['text', "é €\x{2028}\x{2029}\x{feff}😀\x{10fffd}日本", "\"é €\x{2028}\x{2029}\x{feff}😀\x{10fffd}日本\""],
    ['text', 'x' x 3000, '"' . 'x' x 3000 . '"'],
    ['name', 'Some "name"', '"Some \"name\""'], ['"char"', 'a', '"a"'], ['"char"', '', '""'],
    ['uuid', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"'],
    ['xml', "<a b=\"1\">\n x</a>", '"<a b=\"1\">\n x</a>"'],
    ['mood', 'ok', '"ok"'], ['mood', 'very "sad", é', '"very \"sad\", é"'],

    ['inet', '192.168.0.1/24', '"192.168.0.1/24"'], ['inet', '10.0.0.1', '"10.0.0.1"'], ['inet', '::1/128', '"::1"'],
    ['inet', '2001:db8:0:0:1:0:0:1/64', '"2001:db8::1:0:0:1/64"'], ['inet', '::ffff:1.2.3.4', '"::ffff:1.2.3.4"'],
    ['inet', '0.0.0.0/0', '"0.0.0.0/0"'],
    ['cidr', '10/8', '"10.0.0.0/8"'], ['cidr', '2001:db8::/32', '"2001:db8::/32"'], ['cidr', '1.2.3.4', '"1.2.3.4/32"'],
    ['macaddr', '08-00-2b-01-02-0F', '"08:00:2b:01:02:0f"'], ['macaddr8', '08002b0102030405', '"08:00:2b:01:02:03:04:05"'],

    ['!int4range', '[1,5]', '"[1,6)"'], ['!int4range', 'empty', '"empty"'], ['!numrange', '(1.5,)', '"(1.5,)"'],
    ['!tsrange', '[2020-01-02 00:00,infinity)', '"[\"2020-01-02 00:00:00\",infinity)"'],
    ['!tstzrange', '[2020-01-02 00:00+02,)', '"[\"2020-01-01 22:00:00+00\",)"'], ['!daterange', '[2020-01-02,2020-01-31]', '"[2020-01-02,2020-02-01)"'],
    ['!14+int4multirange', '{[1,3),[5,7)}', '"{[1,3),[5,7)}"'],
    ['bit(3)', '101', '"101"'], ['bit(9)', '100000001', '"100000001"'], ['varbit', '', '""'], ['varbit(20)', '1011', '"1011"'],
    ['money', '1234.56', '"$1,234.56"'], ['money', '-0.01', '"-$0.01"'], ['money', '-92233720368547758.08', '"-$92,233,720,368,547,758.08"'],
    ['point', '(1.5,-2)', '"(1.5,-2)"'], ['point', '(1e300,NaN)', '"(1e+300,NaN)"'], ['lseg', '[(0,0),(1,0.1)]', '"[(0,0),(1,0.1)]"'],
    ['box', '(0,0),(2,3)', '"(2,3),(0,0)"'], ['line', '{1,-1,0}', '"{1,-1,0}"'], ['path', '((0,0),(1,1),(2,0))', '"((0,0),(1,1),(2,0))"'],
    ['path', '[(0,0),(1,1)]', '"[(0,0),(1,1)]"'], ['polygon', '((0,0),(1,1),(2,0))', '"((0,0),(1,1),(2,0))"'], ['circle', '<(1,2),3>', '"<(1,2),3>"'],
    ['!pair', '(1,"a ""q"", b",2020-01-31)', '"(1,\"a \"\"q\"\", b\",2020-01-31)"'], ['!pair', '(,,)', '"(,,)"'],
    ['tsvector', 'fat:2A cat:3,5B a', '"\'a\' \'cat\':3,5B \'fat\':2A"'], ['tsvector', '', '""'], ['tsvector', "'it''s'", q("'it''s'")],
    ['!tsquery', 'fat & !rat', '"\'fat\' & !\'rat\'"'],

    ['json', qq({ "b" : 1,\n\t"a":[ 1, 2 ,{"x" : null} ] ,\r\n "big":12345678901234567890123, "e":1.50e10 }),
        '{"b":1,"a":[1,2,{"x":null}],"big":12345678901234567890123,"e":1.50e10}'],
    ['json', '{"a":1,"a" : 2}', '{"a":1,"a":2}'], ['json', ' "a  {b} : \"c\" \u00e9 \/ é" ', '"a  {b} : \"c\" \u00e9 \/ é"'],
    ['json', ' null ', 'null'], ['json', '-0.0', '-0.0'], ['json', ' [ ] ', '[]'], ['json', ' { } ', '{}'], ['json', '"\u0000"', '"\u0000"'],
    ['json', '[' x 100 . ']' x 100, '[' x 100 . ']' x 100],
    ['jsonb', qq({"b": 1, "a": [1, 2.500, null, "x\\ny z, 😀"], "n": 1e3, "o": {}}), '{"a":[1,2.500,null,"x\ny z, 😀"],"b":1,"n":1000,"o":{}}'],
    ['jsonb', '123456789012345678901234567890.12345678901234567890', '123456789012345678901234567890.12345678901234567890'],
    ['jsonb', 'true', 'true'], ['jsonb', 'null', 'null'], ['jsonb', '" "', '" "'], ['jsonb', '[]', '[]'],
    ['jsonpath', '$.a[*]', '"$.\"a\"[*]"'],

    ['date', '2023-05-01', '"2023-05-01"'], ['date', 'infinity', '"infinity"'], ['date', '-infinity', '"-infinity"'],
    ['date', '0044-03-15 BC', '"-0043-03-15"'], ['date', '0001-12-31 BC', '"0000-12-31"'], ['date', '4713-01-01 BC', '"-4712-01-01"'],
    ['date', '0001-01-01', '"0001-01-01"'], ['date', '10000-01-01', '"+10000-01-01"'], ['date', '5874897-12-31', '"+5874897-12-31"'],
    ['date', '2000-02-29', '"2000-02-29"'], ['date', '1999-12-31', '"1999-12-31"'],
    ['time', '12:34:56.789', '"12:34:56.789"'], ['time', '24:00', '"24:00:00"'], ['time', '00:00:00.000001', '"00:00:00.000001"'],
    ['time(0)', '01:02:03', '"01:02:03"'], ['timetz', '12:34:56+02', '"12:34:56+02"'], ['timetz', '23:59:59.5-05:30', '"23:59:59.5-05:30"'],
    ['timestamp', '2023-05-01 12:34:56.789', '"2023-05-01T12:34:56.789"'], ['timestamp', '2023-05-01', '"2023-05-01T00:00:00"'],
    ['timestamp', 'infinity', '"infinity"'], ['timestamp', '-infinity', '"-infinity"'], ['timestamp', '1969-12-31 23:59:59.999999', '"1969-12-31T23:59:59.999999"'],
    ['timestamp', '0044-03-15 10:00:00 BC', '"-0043-03-15T10:00:00"'], ['timestamp', '294276-12-31 23:59:59.999999', '"+294276-12-31T23:59:59.999999"'],
    ['timestamp(3)', '2000-01-01 00:00:00.1', '"2000-01-01T00:00:00.1"'],
    ['timestamptz', '2023-05-01 14:34:56.789+02', '"2023-05-01T12:34:56.789Z"'], ['timestamptz', '1880-01-01 00:00:00+00', '"1880-01-01T00:00:00Z"'],
    ['timestamptz', '2023-12-31 23:00:00-05', '"2024-01-01T04:00:00Z"'], ['timestamptz', 'infinity', '"infinity"'], ['timestamptz', '-infinity', '"-infinity"'],
    ['timestamptz', '0044-03-15 10:00:00+00 BC', '"-0043-03-15T10:00:00Z"'], ['timestamptz', '10000-01-01 00:00:00.5+00', '"+10000-01-01T00:00:00.5Z"'],

    ['interval', '1 year 2 months 3 days 4 hours', '"P1Y2M3DT4H"'], ['interval', '0', '"PT0S"'], ['interval', '-1 day', '"P-1D"'],
    ['interval', '1.5 seconds', '"PT1.5S"'], ['interval', '-0.5 seconds', '"PT-0.5S"'], ['interval', '1 mon -1 day 02:03:04', '"P1M-1DT2H3M4S"'],
    ['interval', '-1 year -2 mons +3 days -04:05:06.789', '"P-1Y-2M3DT-4H-5M-6.789S"'], ['interval', '100 hours', '"PT100H"'],
    ['interval', '1000000:00:01', '"PT1000000H1S"'], ['interval', '0.000001 s', '"PT0.000001S"'], ['interval', '1 week', '"P7D"'], ['interval', '14 months', '"P1Y2M"'],
    ['interval', '-14 months', '"P-1Y-2M"'], ['interval', '-178000000 years', '"P-178000000Y"'], ['interval', '10 min', '"PT10M"'],
    ['interval', '1 day -00:00:00.1', '"P1DT-0.1S"'], ['interval', '20 seconds', '"PT20S"'],

    ['bytea', '\x00ff10', '"AP8Q"'], ['bytea', '', '""'], ['bytea', '\xdeadbeef', '"3q2+7w=="'], ['bytea', '\x5c', '"XA=="'],

    ['int4[]', '{1,NULL,3}', '[1,null,3]'], ['int4[]', '{}', '[]'], ['int4[]', '{{1,2},{3,4}}', '[[1,2],[3,4]]'], ['int4[]', '[0:1]={7,8}', '[7,8]'],
    ['int4[]', '{{{1}},{{NULL}}}', '[[[1]],[[null]]]'], ['int4[]', '[1:1][-2:-1]={{1,2}}', '[[1,2]]'], ['int8[]', '{-9223372036854775808}', '[-9223372036854775808]'],
    ['int2[]', '{1}', '[1]'], ['oid[]', '{4294967295}', '[4294967295]'], ['bool[]', '{t,f,NULL}', '[true,false,null]'], ['float8[]', '{NaN,1.5,-inf}', '["NaN",1.5,"-Infinity"]'], ['float4[]', '{0.1}', '[0.1]'],
    ['numeric[]', '{1.50,NaN}', '["1.50","NaN"]'],
    ['text[]', '{"a \"b\"","c,d","{}","NULL",NULL,"","x\\\\y",é," z "}', '["a \"b\"","c,d","{}","NULL",null,"","x\\\\y","é"," z "]'],
    ['text[]', qq({"a\nb"}), '["a\nb"]'], ['text[]', '{{a,b},{c,NULL}}', '[["a","b"],["c",null]]'],
    ['varchar(3)[]', '{abc}', '["abc"]'], ['char(3)[]', '{a}', '["a  "]'], ['name[]', '{n}', '["n"]'], ['uuid[]', '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}', '["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]'],
    ['json[]', q({"{\"a\": \"x,y\"}",NULL,"[1, 2]"}), '[{"a":"x,y"},null,[1,2]]'], ['jsonb[]', q({"{\"a\": null}",1.50}), '[{"a":null},1.50]'],
    ['bytea[]', q({"\\\\x01",""}), '["AQ==",""]'], ['date[]', '{infinity,2020-01-31}', '["infinity","2020-01-31"]'], ['time[]', '{12:00}', '["12:00:00"]'],
    ['timestamp[]', '{"2020-01-02 03:04:05"}', '["2020-01-02T03:04:05"]'], ['timestamptz[]', '{"2023-05-01 14:34:56+02",infinity}', '["2023-05-01T12:34:56Z","infinity"]'],
    ['interval[]', '{"1 day","00:00:00"}', '["P1D","PT0S"]'], ['mood[]', q({sad,"very \"sad\", é"}), '["sad","very \"sad\", é"]'], ['inet[]', '{10.0.0.1/8}', '["10.0.0.1/8"]'],
    ['box[]', '{(1,1),(0,0);(3,3),(2,2)}', '["(1,1),(0,0)","(3,3),(2,2)"]'], ['point[]', '{"(1,2)","(3,4)"}', '["(1,2)","(3,4)"]'], ['money[]', '{"$1,000.00"}', '["$1,000.00"]'],
    ['bit(2)[]', '{01}', '["01"]'], ['!int4range[]', '{"[1,3)",empty}', '["[1,3)","empty"]'], ['!pair[]', q({"(1,a,)"}), '["(1,a,)"]'],
    ['small[]', '{1,2}', '[1,2]', 11], ['price[]', '{1}', '["1.00"]', 11],
    ['int2vector', '1 2 3', '"1 2 3"'], ['oidvector', '7 8', '"7 8"'],

    ['small', '5', '5'], ['label', 'a "b"', '"a \"b\""'], ['price', '7', '"7.00"'], ['moment', '2023-05-01 14:00+02', '"2023-05-01T12:00:00Z"'],
    ['ints', '{{1},{2}}', '[[1],[2]]'], ['doc', '{"a": 1}', '{"a":1}'],

    ['!regclass', 'pg_class', '"pg_class"'], ['!regtype', 'int4', '"integer"'], ['!regproc', 'now', '"now"'],
    ['pg_lsn', '16/B374D848', '"16/B374D848"'], ['xid', '4294967295', '"4294967295"'], ['13+xid8', '18446744073709551615', '"18446744073709551615"'], ['cid', '1', '"1"'],
    ['tid', '(42,7)', '"(42,7)"'], ['txid_snapshot', '10:20:10,14,15', '"10:20:10,14,15"'], ['13+pg_snapshot', '10:20:', '"10:20:"'],
    ['aclitem', 'postgres=r/postgres', '"postgres=r/postgres"'], ['refcursor', 'c1', '"c1"'],

    ['hstore:hstore', '"q\"x"=>"y,z",a=>1,"b c"=>NULL', '{"a":"1","b c":null,"q\"x":"y,z"}'], ['hstore:hstore', '', '{}'],
    ['hstore:hstore', q("é"=>"NULL","\\\\"=>""), '{"\\\\":"","é":"NULL"}'], ['hstore:hstore[]', q({"\"a\"=>\"1\"",NULL}), '[{"a":"1"},null]'],
    ['citext:citext', 'MiXed É', '"MiXed É"'], ['citext:citext[]', '{Ab}', '["Ab"]'], ['ltree:ltree', 'Top.Science', '"Top.Science"'],
);

# The table "values" gets the types of known binary form, "others" the rest.
my %columns = (values => [], others => []);
my %missing;
for my $case (@cases) {
    my ($type, $sql, $json) = @$case;
    my $table = $type =~ s/\A!// ? 'others' : 'values';
    next if $type =~ s/\A(\d+)\+// && $version < $1;
    if ($type =~ s/\A(\w+)://) {
        if (!$has{$1}) { $missing{$1}++; next }
    }
    push @{ $columns{$table} }, { name => sprintf('c%03d', 1 + @{ $columns{$table} }), type => $type, sql => $sql, json => $json };
}
cmp_ok(scalar @{ $columns{values} }, '>', 150, 'many columns');
SKIP: for my $extension (sort keys %missing) { skip_without(0, "extension $extension is not there", $missing{$extension}) }

for my $table (sort keys %columns) {
    $pg->sql('shop', "CREATE TABLE \"$table\" (id int PRIMARY KEY, " . join(', ', map { "$_->{name} $_->{type}" } @{ $columns{$table} }) . ");
        ALTER TABLE \"$table\" REPLICA IDENTITY FULL");
}

sub capture ($slot, @args) {
    return Cdc->run(server => $pg, db => 'shop', env => \%env, args => ['-S', $slot, qw(-m never -E now), @args]);
}
my %slots = (
    debezium => [], plain => [qw(-e plain)], text => [qw(-t values)],
    binary => [qw(-t values -o binary=true)], plain_text => [qw(-t values -e plain)], plain_binary => [qw(-t values -e plain -o binary)],
);
delete @slots{qw(binary plain_binary)} if $version < 14;
capture($_, @{ $slots{$_} })->exited(0, "slot $_") for sort keys %slots;

# Literals are read under the settings that they are written for.
my $style = "SET datestyle = 'ISO, YMD'; SET timezone = 'UTC'; SET intervalstyle = 'postgres';";
for my $table (sort keys %columns) {
    my @literals = map { "'" . ($_->{sql} =~ s/'/''/gr) . "'" } @{ $columns{$table} };
    $pg->sql('shop', "$style
        INSERT INTO \"$table\" VALUES (1, " . join(', ', @literals) . ");
        INSERT INTO \"$table\" (id) VALUES (2);
        UPDATE \"$table\" SET id = 10 WHERE id = 1; UPDATE \"$table\" SET id = 20 WHERE id = 2;
        DELETE FROM \"$table\" WHERE id = 10; DELETE FROM \"$table\" WHERE id = 20");
}

# ---- values ----

# One test per value: the text behind "cNNN": in a row's JSON.
sub check_row ($table, $text, $id, $null, $name) {
    my ($head, @pairs) = split /,"(?=c\d\d\d":)/, decode_utf8($text) =~ s/\}\z//r;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is($head, qq({"id":$id), "$name: id");
    for my $c (@{ $columns{$table} }) {
        my $want = $null ? 'null' : $c->{json};
        is(shift @pairs, "$c->{name}\":$want", "$name: $c->{type} " . ($null ? 'NULL' : substr $c->{sql}, 0, 40));
    }
    is("@pairs", '', "$name: nothing more");
}

sub check_same ($text, $expected, $name) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    ok(defined $text && $text eq $expected, $name) or diag(defined $text ? substr($text, 0, 1000) : 'undef');
}

my $debezium = capture('debezium');
$debezium->exited(0, 'all values in the debezium envelope');
my @lines = $debezium->lines;
is(scalar @lines, 12, 'a record for each change');
ok(eval { 12 == (() = $debezium->records) }, 'all of them JSON') or diag($@);
my %row;    # table -> texts of the rows, for comparison with the plain envelope
for my $table (qw(others values)) {
    my @mine = map { [/\A\{"before":(.*?),"after":(.*?),"source":\{.*"table":"$table",.*"op":"(\w)"/s] } splice @lines, 0, 6;
    my @full = map { $mine[$_ * 2] } 0 .. 2;
    is(join(' ', map { $_->[2] } @mine), 'c c u u d d', "$table: operations");
    check_row($table, $mine[0][1], 1, 0, "$table, insert");
    check_row($table, $mine[1][1], 2, 1, "$table, insert of NULLs");
    check_same($mine[2][0], $mine[0][1], "$table: the update's old row");
    check_same($mine[3][0], $mine[1][1], "$table: the update's old row of NULLs");
    check_same($mine[2][1], $mine[0][1] =~ s/"id":1,/"id":10,/r, "$table: the update's new row");
    check_same($mine[3][1], $mine[1][1] =~ s/"id":2,/"id":20,/r, "$table: the update's new row of NULLs");
    check_same($mine[4][0], $mine[2][1], "$table: the deleted row");
    check_same($mine[5][0], $mine[3][1], "$table: the deleted row of NULLs");
    is("$mine[0][0] $mine[1][0] $mine[4][1] $mine[5][1]", 'null null null null', "$table: no other rows");
    $row{$table} = \@mine;
}

my $plain = capture('plain', '-e', 'plain');
$plain->exited(0, 'all values in the plain envelope');
@lines = $plain->lines;
is(scalar @lines, 12, 'a record for each change');
for my $table (qw(others values)) {
    for my $d (@{ $row{$table} }) {
        my ($row, $old) = shift(@lines) =~ /\A\{"op":"$d->[2]",.*?"table":"$table","key":\{"id":\d+\},"row":(.*),"old":(.*)\}\z/s;
        check_same($row, $d->[1], "$table, $d->[2]: the same row");
        check_same($old, $d->[0], "$table, $d->[2]: the same old row");
    }
}

# ---- binary ----

sub without_writing_times ($out) { return $out =~ s/(,"op":"\w","ts_ms":)\d+,"ts_us":\d+,"ts_ns":\d+\}$/$1}/gmr }

SKIP: {
    skip_without($version >= 14, 'PostgreSQL 14 brought the binary form', 1);
    for my $envelope ('', 'plain_') {
        my $text = capture("${envelope}text", @{ $slots{"${envelope}text"} });
        my $binary = capture("${envelope}binary", @{ $slots{"${envelope}binary"} });
        $_->exited(0, "$envelope text and binary") for $text, $binary;
        is(scalar(() = $text->lines), 6, 'records in text form');
        my ($t, $b) = map { without_writing_times($_->out) } $text, $binary;
        ok($t eq $b, "$envelope binary gives the same bytes") or do {
            my @t = split /,(?=")/, $t;
            my @b = split /,(?=")/, $b;
            for my $i (0 .. $#t) { diag("text: $t[$i]\nbinary: ", $b[$i] // 'undef') if $t[$i] ne ($b[$i] // '') }
        };
    }
    # That it was binary can be seen from what cannot be read: one column of each such type.
    my %seen;
    my @unknown = grep { !$seen{ $_->{type} }++ } @{ $columns{others} };
    cmp_ok(scalar @unknown, '>', 8, 'types of unknown binary form');
    for my $i (0 .. $#unknown) {
        $pg->sql('shop', "CREATE TABLE unknown$i (id int PRIMARY KEY, \"odd Column\" $unknown[$i]{type})");
    }
    capture('unknown', '-t', 'unknown\d+', '-o', 'binary')->exited(0, 'a slot for them');
    $pg->sql('shop', "SELECT pg_copy_logical_replication_slot('unknown', 'unknown$_'); INSERT INTO unknown$_ VALUES (1)") for 0 .. $#unknown;
    my $null = capture('unknown', '-t', 'unknown\d+', '-o', 'binary');
    $null->exited(0, 'NULL has no form');
    is(scalar(() = $null->out =~ /"odd Column":null/g), scalar @unknown, 'NULL of each type');
    my ($lsn, $file) = ('[0-9A-F]+/[0-9A-F]+', scratch());
    for my $i (0 .. $#unknown) {
        my $c = $unknown[$i];
        $pg->sql('shop', "$style INSERT INTO unknown$i VALUES (2, '" . ($c->{sql} =~ s/'/''/gr) . "')");
        # The publication is shared: its own slot reads only this table of it.
        my $r = capture("unknown$i", '-t', "unknown$i", '--publication-mode=existing', '--publication=cdcdump_unknown', '-o', 'binary=on');
        $r->exited(1, "$c->{type} in binary form");
        like($r->err, qr{^cdcdump: error: could not write column "odd Column" of table "public\.unknown$i" at $lsn: }m, 'the column is named');
        like($r->err, qr/the binary form of its type is not known; leave -o binary out/, 'and the way out');
        is(join(' ', map { $_->{after}{id} } $r->records), '1', 'what came before it was written');
        my $again = capture("unknown$i", '-t', "unknown$i", '--publication-mode=existing', '--publication=cdcdump_unknown');
        like(decode_utf8($again->out), qr/"odd Column":\Q$c->{json}\E\}/, 'without -o binary it can be read');
    }
}

# ---- rows of a snapshot ----

sub after_of ($r, $op) { return { map { /\A\{"before":null,"after":(\{"id":(\d+).*?\}),"source":\{.*"table":"(values|others)",.*"op":"$op"/s ? ("$3 $2" => $1) : () } $r->lines } }

capture('debezium')->exited(0, 'up to now');
for my $table (sort keys %columns) {
    my @literals = map { "'" . ($_->{sql} =~ s/'/''/gr) . "'" } @{ $columns{$table} };
    $pg->sql('shop', "$style INSERT INTO \"$table\" VALUES (1, " . join(', ', @literals) . "); INSERT INTO \"$table\" (id) VALUES (2)");
}
my $changes = after_of(capture('debezium'), 'c');
is(join(', ', sort keys %$changes), 'others 1, others 2, values 1, values 2', 'the same rows as changes');
for my $how ([qw(-m initial_only)], [qw(-m initial_only -j 2)], [qw(-m snapshot --snapshot=incremental)], [qw(-m initial_only -o binary)]) {
    next if "@$how" =~ /binary/ && $version < 14;
    my $rows = capture('rows', '-t', 'values|others', @$how);
    $rows->exited(0, "rows, @$how");
    my $of = after_of($rows, 'r');
    for my $which (sort keys %$changes) {
        check_same($of->{$which}, $changes->{$which}, "@$how: $which, the row is as the change is") or do {
            my @r = split /,(?="c\d\d\d":)/, $of->{$which} // '';
            my @c = split /,(?="c\d\d\d":)/, $changes->{$which};
            for my $i (0 .. $#c) { diag("change: $c[$i]\nrow: ", $r[$i] // 'undef') if $c[$i] ne ($r[$i] // '') }
        };
    }
}

# ---- encodings ----

$pg->sql('postgres', "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0; CREATE DATABASE raw ENCODING 'SQL_ASCII' TEMPLATE template0");
sub capture_in ($db, @args) {
    return Cdc->run(server => $pg, db => $db, env => \%env, args => ['-S', "s_$db", qw(-m never -E now), @args]);
}
for my $db (qw(latin raw)) {
    $pg->sql($db, 'CREATE TABLE t (id int PRIMARY KEY, "é" text, a text[])');
    capture_in($db)->exited(0, "database $db");
    $pg->sql($db, q(INSERT INTO t VALUES (1, 'ÿ', '{"é",b}')));
}
like(decode_utf8(capture_in('latin')->out), qr/"after":\{"id":1,"é":"ÿ","a":\["é","b"\]\}/, 'LATIN1 comes out as UTF-8');
like(decode_utf8(capture_in('raw')->out), qr/"after":\{"id":1,"é":"ÿ","a":\["é","b"\]\}/, 'UTF-8 in SQL_ASCII, too');
for my $value (q(E'a\\xffb'), q(E'\\xc3'), q(E'\\xed\\xa0\\x80'), q(E'\\xc0\\xaf'), q(E'\\xf4\\x90\\x80\\x80')) {
    $pg->sql('raw', qq(INSERT INTO t (id, "é") VALUES (2, $value)));
    my $r = capture_in('raw');
    $r->exited(1, "$value is not UTF-8");
    like(decode_utf8($r->err), qr/^cdcdump: error: could not write column "é" of table "public\.t" at [0-9A-F\/]+: the value is not valid UTF-8\nHINT: /m, 'the column is named');
    is($r->out, '', 'nothing is written of the row');
    my $without = capture_in('raw', '--exclude-column', 'public\.t\.é');
    $without->exited(0, 'the column can be left out');
    like($without->out, qr/"after":\{"id":2,"a":null\}/, 'and the others are there');
    $pg->sql('raw', 'DELETE FROM t WHERE id = 2');
    capture_in('raw')->exited(0, 'it goes on');
}
$pg->sql('raw', q(INSERT INTO t (id, a) VALUES (3, ARRAY[E'\\xff'])));
my $element = capture_in('raw');
$element->exited(1, 'an array element that is not UTF-8');
like($element->err, qr/column "a" of table "public\.t".*not valid UTF-8/, 'the column is named');
$pg->sql('raw', 'DELETE FROM t WHERE id = 3');
capture_in('raw', '--exclude-column', 'public\.t\.a')->exited(0, 'past it');
$pg->sql('raw', q(DO $$BEGIN EXECUTE E'CREATE TABLE n (id int PRIMARY KEY, "x\\xffy" int)'; END$$));
capture_in('raw')->exited(0, 'a column whose name is not UTF-8');
$pg->sql('raw', 'INSERT INTO n VALUES (1, 2)');
my ($named) = eval { capture_in('raw')->records };
is_deeply($named && $named->{after}, { id => 1, 'x?y' => 2 }, 'its records are UTF-8 all the same');

done_testing;
