# One workload through every decoding plugin at once: each record has to be what it is with pgoutput,
# field by field, but for what a plugin cannot tell, which is listed here with the reason.
use v5.36;
use utf8;
use Encode qw(decode_utf8);
use MIME::Base64 qw(decode_base64);
use CdcTest;
use CdcTest::Plugins;

# A server and a user's environment that would all like values and names to look otherwise.
my $libraries = scratch();    # where the server looks for plugins first
my $pg = PgServer->new(extra_conf => {
    max_replication_slots => 100, dynamic_library_path => "$libraries:\$libdir", timezone => 'America/New_York', datestyle => 'SQL, DMY', intervalstyle => 'sql_standard',
    bytea_output => 'escape', extra_float_digits => -10, quote_all_identifiers => 'on', xmlbinary => 'hex', search_path => '"Odd.Schema", public',
});
my @env = (env => { PGTZ => 'Asia/Tokyo', PGDATESTYLE => 'Postgres, MDY', PGCLIENTENCODING => 'LATIN1', PGOPTIONS => '-c bytea_output=escape -c extra_float_digits=0' });
skip_all_without($pg->version >= 15, 'the changes need PostgreSQL 15');
my $style = "SET datestyle = 'ISO, YMD'; SET timezone = 'UTC'; SET intervalstyle = 'postgres'; SET search_path = public;";

# ---- what is known to differ ----

# Besides the plugins as they are, wal2json as it was: before 2.0 (format 1, a transaction in one document)
# and before 2.5 (format 2 without the OIDs of types).
my @format1 = (@CdcTest::Plugins::STREAMING, 'wal2json_before_2_0');
my @wal2json = (@CdcTest::Plugins::WAL2JSON, 'wal2json_before_2_0', 'wal2json_before_2_5');
my @others = (@wal2json, qw(decoderbufs test_decoding));
my @late = (@format1, qw(decoderbufs test_decoding));
my @no_truncate = (@format1, 'decoderbufs');
my @current = @CdcTest::Plugins::OTHERS;
my $meanwhile = qr/\A(?:ahead|live)\z/;
my @gone = qw(m_renamed m_gone m_schema.m_moved m_schema.m_stays);
my @identified = qw(m_identity m_in_transaction m_key_renamed m_gone_full);
sub named ($table) { return qr/(?:\A|\.)\Q$table\E\z/ }
my $value = qr/\A(?:row|old|before|after|key)\./;
my $not_a_number = qr/\A"(?:NaN|-?Infinity)"\z/;
my $unavailable = qr/\A"__debezium_unavailable_value"\z/;

my @known = (
    { plugins => \@late, field => qr/\A(?:source\.)?commit_lsn\z/, got => qr/\Anull\z/, reason => 'where the commit record stands is not told' },
    { plugins => [grep { !/before/ } @late], field => qr/\Asource\.sequence\z/, expected => qr/\A"\[\\"/, got => qr/\A"\[null,/, reason => 'nor where the one before stood',
      when => sub ($d) { ($d->{expected} =~ /,(.*)/)[0] eq ($d->{got} =~ /,(.*)/)[0] } },
    { plugins => [qw(wal2json wal2json_rds)], field => qr/\Asource\.sequence\z/, reason => 'the one before may be one that pgoutput sends nothing of, as it truncates a partition',
      when => sub ($d) { ($d->{expected} =~ /,(.*)/)[0] eq ($d->{got} =~ /,(.*)/)[0] } },
    { plugins => \@CdcTest::Plugins::STREAMING, field => qr/\Aid\z/, op => qr/\A(?:BEGIN|END)\z/, got => qr/\A"\d+:\d+"\z/, reason => 'so the identifier of the transaction has the end of that record' },
    { plugins => ['wal2json_before_2_0'], field => qr/\Alsn\z/, got => qr/\Anull\z/, reason => 'nor where changes stand, in a document' },
    { plugins => [qw(decoderbufs test_decoding)], field => qr/\Aid\z/, op => qr/\A(?:BEGIN|END)\z/, got => qr/\A"\d+"\z/, reason => 'or no LSN at all' },
    { plugins => ['test_decoding'], field => qr/\A(?:source\.)?ts(?:_[mun]s)?\z/, op => qr/\A(?!end|END)/, got => qr/\Anull\z/, reason => 'the time is told at the end' },

    { plugins => \@no_truncate, field => qr/\Amissing\z/, op => qr/\At\z/, reason => 'TRUNCATE is not sent' },
    { plugins => ['decoderbufs'], field => qr/\Amissing\z/, op => qr/\Am\z/, reason => 'messages are not sent' },
    { plugins => \@no_truncate, field => qr/\Amissing\z/, op => qr/\A(?:begin|end)\z/i, reason => 'transactions of nothing else', when => sub ($d) { !grep { !/[tm]/ } keys %{ $d->{ops} } } },
    { plugins => \@no_truncate, field => qr/\Amissing\z/, op => qr/\Aschema\z/, table => qr/\.only_truncated_/, reason => 'tables with nothing else' },
    { plugins => \@no_truncate, field => qr/\A(?:seq|source\.tx_seq)\z/, reason => 'places in the transaction are counted without those',
      when => sub ($d) { $d->{lacking} && $d->{expected} == $d->{got} + $d->{lacking} } },
    { plugins => \@no_truncate, field => qr/\A(?:tables|data_collections|event_count)\z/, op => qr/\Aend\z/i, reason => 'and so are events', when => sub ($d) { $d->{lacking} } },

    { plugins => \@wal2json, op => qr/\Am\z/, field => qr/\A(?:content|message)\z/, reason => 'contents of messages are cut at a zero byte',
      when => sub ($d) { my ($expected, $got) = map { decode_base64(/"content":"([^"]*)/ ? $1 : $_) } @$d{qw(expected got)}; $expected =~ /\A\Q$got\E\0/ } },
    { plugins => \@wal2json, table => qr/\.numbers(?:_whole)?\z/, field => $value, expected => $not_a_number, got => qr/\Anull\z/, reason => 'numbers that are none are null up to wal2json 2.5', numbers => 1 },
    { plugins => \@wal2json, table => qr/\.numbers_strict/, field => $value, expected => $not_a_number, got => $unavailable, reason => 'and are left open where a null cannot be', numbers => 1 },
    { plugins => \@format1, table => qr/\.numbers_whole\z/, field => qr/\A(?:old|before)\./, expected => $not_a_number, got => $unavailable, reason => 'or is not sent', numbers => 1 },
    { plugins => ['decoderbufs'], field => qr/${value}timetz\z/, got => qr/\+00"\z/, reason => 'times come in GMT', when => sub ($d) { utc_of($d->{expected}) eq utc_of($d->{got}) } },

    { plugins => \@others, table => qr/\.computed\z/, field => qr/$value|[{]|\A(?:columns|tableChanges)\z/, reason => 'pgoutput leaves generated columns out',
      when => sub ($d) { (($d->{got} // '') =~ s/,"twice"|\{"name":"twice".*?\},?//gr =~ s/"position":4/"position":3/gr) eq ($d->{expected} // '') || $d->{field} =~ /\.twice\z/ } },
    { plugins => ['decoderbufs'], table => qr/\.empty\z/, op => qr/\Ad\z/, field => qr/\A(?:old|before)/, reason => 'a row without columns is none' },
    { plugins => \@others, table => qr/\.fp\z/, field => qr/\A(?:old|before)(?:\.|[{])/, reason => 'pgoutput gives nulls in place of what the identity of a partition leaves out',
      when => sub ($d) { $d->{field} =~ /\}\z/ ? $d->{got} eq '"id"' : $d->{expected} eq 'null' && !defined $d->{got} } },

    # Tables that change meanwhile: what is in the catalogs is as of the reading.
    { plugins => \@current, run => $meanwhile, op => qr/\Aschema\z/, field => qr/\Alsn\z/, reason => 'a deletion shows no column but those of the key', when => sub ($d) { $d->{next} eq 'd' } },
    { plugins => \@current, run => $meanwhile, op => qr/\Aschema\z/, field => qr/\Achange\z/, table => qr/\.(?:m_new_name|m_was|m_moved)\z/,
      expected => qr/"changed"/, got => qr/"first"/, reason => 'a table with another name is another one' },
    { plugins => \@current, run => $meanwhile, op => qr/\Aschema\z/, field => qr/\Achange\z/, table => qr/\.(?:m_again|m_taken)\z/,
      expected => qr/"first"/, got => qr/"changed"/, reason => 'and one with the same name the same' },
    { plugins => \@current, run => $meanwhile, table => qr/\Am_schema2?\.m_stays\z/, reason => 'pgoutput does not see that a schema has got another name',
      field => qr/\A(?:schema|tables|extra)\z/, got => qr/"m_schema2"/ },
    { plugins => ['test_decoding'], run => qr/\Aahead\z/, table => qr/\.(?:m_types|m_type|m_again)\z/, op => qr/\Aschema\z/, field => qr/\Acolumns\z/, reason => 'types come without modifiers and OIDs',
      when => sub ($d) { without_modifiers($d->{expected}) eq without_modifiers($d->{got}) } },
    (map { { plugins => \@current, run => qr/\Aahead\z/, table => named($_), op => qr/\A[cu]\z/, field => qr/\Akey/, reason => "the key of a table that is not there any more is told by updates and deletes alone: $_",
      when => sub ($d) { $d->{field} eq 'key' ? $d->{got} eq 'null' : !defined $d->{got} } } } @gone),
    (map { { plugins => \@current, run => qr/\Aahead\z/, table => named($_), op => qr/\Aschema\z/, field => qr/\A(?:columns|extra)\z/, reason => "so its columns are told of again: $_",
      when => sub ($d) { $d->{field} eq 'extra' || without_modifiers($d->{expected}) eq without_modifiers($d->{got}) } } } @gone),
    (map { { plugins => \@current, run => qr/\Aahead\z/, table => named($_), op => qr/\A[cud]\z/, field => qr/\A(?:key|old)/, reason => "what the identity was is told by some old rows alone: $_",
      when => sub ($d) { $d->{field} !~ /\./ || !defined $d->{expected} || !defined $d->{got} } } } @identified),
    (map { { plugins => \@current, run => qr/\Aahead\z/, table => named($_), op => qr/\Aschema\z/, field => qr/\A(?:columns|missing|extra|lsn)\z/, reason => "and so it is in what is told of columns: $_",
      when => sub ($d) { $d->{field} ne 'columns' || without_modifiers($d->{expected}) eq without_modifiers($d->{got}) } } } @identified),
    { plugins => \@current, run => qr/\Aahead\z/, table => qr/\.m_p(?:_us|_eu|_jp)?\z/, field => qr/\A(?:table|tables|key.*|row[{]\}|missing|extra|lsn)\z/, reason => 'partitions are of the table that they are of now',
      when => sub ($d) { $d->{field} !~ /\A(?:key\.|missing|extra)/ || $d->{op} =~ /\A(?:schema|t)\z/ || !defined $d->{got} } },
    (map { { plugins => \@CdcTest::Plugins::WAL2JSON, run => qr/\Aahead\z/, table => named($_), field => qr/\Arow[.{]|\A(?:columns|missing|extra|lsn)\z/,
      reason => "what has been left out may be of a column that is dropped or renamed by now: $_", when => sub ($d) { $d->{field} !~ /\./ || !defined $d->{got} || $d->{got} =~ $unavailable } } }
      qw(m_columns m_toast m_toast_within)),
);

# Columns as a schema event has them, without what is told by other means than the row.
sub without_modifiers ($columns) { return ($columns // '') =~ s/(?<=[a-z])\(\d+(?:,-?\d+)?\)//gr =~ s/,"key":(?:true|false)//gr =~ s/"type":"(?:\?\?\?|-)(?:\[\])?","type_oid":\d+/unknown/gr }

# The moment of the day of a time with time zone, in seconds.
sub utc_of ($time) {
    my ($h, $m, $s, $sign, $zh, $zm, $zs) = $time =~ /\A"(\d\d):(\d\d):([\d.]+)([-+])(\d\d)(?::(\d\d))?(?::(\d\d))?"\z/ or return $time;
    my $zone = $zh * 3600 + ($zm // 0) * 60 + ($zs // 0);
    return sprintf '%.6f', ($h * 3600 + $m * 60 + int($s) + ($sign eq '-' ? $zone : 86400 - $zone)) % 86400 + $s - int $s;
}

# ---- values ----

my $types = <<'END';
    CREATE SCHEMA "Odd.Schema";
    CREATE TYPE mood AS ENUM ('sad', 'ok', 'very "sad", é');
    CREATE TYPE "Odd.Schema"."My ""Enum"": [x], it's" AS ENUM ('a', 'B:[c]''"');
    CREATE TYPE "Odd.Schema"."integer" AS ENUM ('null', 'true');
    CREATE TYPE pair AS (n int, label text, d date);
    CREATE TYPE "Odd.Schema"."a pair(1)" AS ("n.1" numeric, "it's" text);
    CREATE DOMAIN positive AS int4 CHECK (VALUE > 0);
    CREATE DOMAIN small AS positive CHECK (VALUE < 100);
    CREATE DOMAIN label AS text;
    CREATE DOMAIN price AS numeric(12,2);
    CREATE DOMAIN ratio AS float8;
    CREATE DOMAIN moment AS timestamptz;
    CREATE DOMAIN blob AS bytea;
    CREATE DOMAIN ints AS int4[];
    CREATE DOMAIN doc AS jsonb;
    CREATE DOMAIN "Odd.Schema"."do:main" AS numeric;
END

# TYPE | VALUE | …, where a value is SQL if it begins with a quote, with E' or with = (which is left
# out), else the text of a literal.  In front of the type may stand the extension that it needs.
my $values = <<'END';
bool | true | false
int2 | -32768 | 32767 | 0
int4 | -2147483648 | 2147483647 | 0 | -1
int8 | -9223372036854775808 | 9223372036854775807 | 9007199254740993 | -9007199254740993 | 0
oid | 4294967295 | 0 | 2147483648
float4 | 0.1 | -0 | 3.4028235e38 | 1e-45 | 16777216 | 100000 | 1.1
float8 | 0.1 | 0.30000000000000004 | 1e300 | -0 | 5e-324 | 1.7976931348623157e308 | 123456789012345 | 1e15 | 0.00001 | -2.5
numeric | 1234567890123456789012345678901234567890.0123456789 | -0.000 | 1e20 | 0.00000000000000000001 | 10000 | -99999999 | 0.00010 | =(repeat('9', 500) || '.' || repeat('1', 500))::numeric
numeric(10,2) | 1.5 | -12345678.9 | 0
numeric(5,-2) | 12345 | -50
char(5) | ab | é | ''
bpchar | 'x ' | ' '
varchar(10) | x y | ' ' | ''''
varchar | ''
name | Some "name" | it's
"char" | a | '' | '''' | \377
text | '' | NULL | null | '  a  ' | say "it's" \\ / <&> | E'a\nb\r\n' | E'\'\n\'' | \ | \' | \u0041\n | ' ' | '''' | '''''' | " | new-tuple: a[text]:'b' | unchanged-toast-datum
text | a' b[text]:'c | __debezium_unavailable_value | =repeat('x', 3000) | =(SELECT string_agg(chr(n), '') FROM generate_series(1, 159) n) | =U&'\00e9\20ac\2028\2029\feff\+01f600\+10fffd\65e5\0301'
uuid | A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11
xml | E'<a b="1">\n x</a>' | <a b="it's"/>
mood | ok | very "sad", é
inet | 192.168.0.1/24 | 10.0.0.1 | ::1/128 | 2001:db8:0:0:1:0:0:1/64 | ::ffff:1.2.3.4 | 0.0.0.0/0
cidr | 10/8 | 2001:db8::/32 | 1.2.3.4
macaddr | 08-00-2b-01-02-0F
macaddr8 | 08002b0102030405
int4range | [1,5] | empty | (,)
numrange | (1.5,)
tsrange | [2020-01-02 00:00,infinity)
tstzrange | [2020-01-02 00:00+02,)
daterange | [2020-01-02,2020-01-31]
int4multirange | {[1,3),[5,7)} | {}
bit(3) | 101
bit(9) | 100000001
bit | 1
varbit | '' | 1
varbit(20) | 1011
money | 1234.56 | -0.01 | -92233720368547758.08 | 0 | 92233720368547758.07
point | (1.5,-2) | (1e300,NaN) | (0.1,-0)
lseg | [(0,0),(1,0.1)]
box | (0,0),(2,3)
line | {1,-1,0}
path | ((0,0),(1,1),(2,0)) | [(0,0),(1,1)]
polygon | ((0,0),(1,1),(2,0))
circle | <(1,2),3>
pair | (1,"a ""q"", b",2020-01-31) | (,,) | (1,it's,)
tsvector | fat:2A cat:3,5B a | '' | 'it''s'
tsquery | fat & !rat
json | E'{ "b" : 1,\n\t"a":[ 1, 2 ,{"x" : null} ] ,\r\n "big":12345678901234567890123, "e":1.50e10 }' | {"a":1,"a" : 2} | ' "a  {b} : \"c\" \u00e9 \/ é" ' | ' null ' | -0.0 | "\u0000" | =(repeat('[', 100) || repeat(']', 100))::json
jsonb | {"b": 1, "a": [1, 2.500, null, "x\ny z, 😀"], "n": 1e3, "o": {}} | 123456789012345678901234567890.12345678901234567890 | null | " "
jsonpath | $.a[*]
date | 2023-05-01 | infinity | -infinity | 0044-03-15 BC | 0001-12-31 BC | 4713-01-01 BC | 0001-01-01 | 10000-01-01 | 5874897-12-31 | 1970-01-01 | 1969-12-31 | 1999-12-31
time | 12:34:56.789 | 24:00 | 00:00:00.000001 | 00:00
time(0) | 01:02:03
timetz | 12:34:56+00 | 24:00:00+00 | 00:00+00 | 23:59:59.999999+00 | 23:59:59.5-05:30 | 00:00+02 | 24:00-15:59:59 | 00:00:00+15:59:59 | 12:00:00.000001-08
timestamp | 2023-05-01 12:34:56.789 | infinity | -infinity | 1969-12-31 23:59:59.999999 | 0044-03-15 10:00:00 BC | 294246-12-31 23:59:59.999999 | 1970-01-01 | 4713-01-01 00:00:00 BC
timestamp(3) | 2000-01-01 00:00:00.1
timestamptz | 2023-05-01 14:34:56.789+02 | 1880-01-01 00:00:00+00 | 2023-12-31 23:00:00-05 | infinity | -infinity | 0044-03-15 10:00:00+00 BC | 10000-01-01 00:00:00.5+00
interval | 1 year 2 months 3 days 4 hours | 0 | -1 day | 1.5 seconds | -0.5 seconds | 1 mon -1 day 02:03:04 | -1 year -2 mons +3 days -04:05:06.789 | 1000000:00:01 | 0.000001 s | -178000000 years
interval day to second(3) | 1 day 00:00:01.5
bytea | \x00ff10 | '' | \xdeadbeef | \x5c | \x5c7830 | \x27
int4[] | {1,NULL,3} | {} | {{1,2},{3,4}} | [0:1]={7,8} | {{{1}},{{NULL}}}
int8[] | {-9223372036854775808}
bool[] | {t,f,NULL}
float8[] | {NaN,1.5,-inf}
numeric[] | {1.50,NaN}
text[] | {"a \"b\"","c,d","{}","NULL",NULL,"","x\\\\y",é," z ","it's"} | E'{"a\nb"}' | {{a,b},{c,NULL}}
varchar(3)[] | {abc}
char(3)[] | {a}
name[] | {n}
uuid[] | {a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}
"char"[] | {a}
json[] | {"{\"a\": \"x,y\"}",NULL,"[1, 2]"}
jsonb[] | {"{\"a\": null}",1.50}
bytea[] | {"\\x01",""}
date[] | {infinity,2020-01-31}
timestamp[] | {"2020-01-02 03:04:05"}
timestamptz(3)[] | {"2023-05-01 14:34:56+02",infinity}
timetz[] | {12:00+02}
interval[] | {"1 day","00:00:00"}
mood[] | {sad,"very \"sad\", é"}
box[] | {(1,1),(0,0);(3,3),(2,2)}
money[] | {"$1,000.00"}
bit(2)[] | {01}
numeric(6,2)[] | {1}
int4range[] | {"[1,3)",empty}
pair[] | {"(1,a,)"}
small[] | {1,2}
price[] | {1}
int2vector | 1 2 3
oidvector | 7 8
small | 5
label | a "b" | it's
price | 7 | -1.10
ratio | 0.1 | 1e300
moment | 2023-05-01 14:00+02
blob | \x00ff | ''
ints | {{1},{2}}
doc | {"a": 1}
regclass | pg_class
regtype | int4
regproc | now
pg_lsn | 16/B374D848
xid | 4294967295
xid8 | 18446744073709551615
cid | 1
tid | (42,7)
txid_snapshot | 10:20:10,14,15
aclitem | postgres=r/postgres
refcursor | c1
hstore:hstore | "q\"x"=>"y,z",a=>1,"b c"=>NULL | '' | "é"=>"NULL","\\"=>""
hstore:hstore[] | {"\"a\"=>\"1\"",NULL}
citext:citext | MiXed É
citext:citext[] | {Ab}
ltree:ltree | Top.Science
"Odd.Schema"."My ""Enum"": [x], it's" | a | B:[c]'"
"Odd.Schema"."integer" | null | true
"Odd.Schema"."a pair(1)" | (NaN,"x'y")
"Odd.Schema"."My ""Enum"": [x], it's"[] | {a,"B:[c]'\""}
"Odd.Schema"."do:main" | 1.50
END

# Those that wal2json up to 2.5 has no text for.
my $numbers = <<'END';
float4 | NaN | Infinity | -inf
float8 | NaN | inf | -Infinity
numeric | NaN
numeric | Infinity | -Infinity
numeric(10,2) | NaN
ratio | NaN | -inf
price | NaN
END

# [name, type, SQL …] of each line; the column is named after its type.
my (%has, %lacking);
sub columns_of ($list) {
    my (@columns, %named);
    for (split /\n/, $list) {
        my ($type, @values) = split / \| /;
        if ($type =~ s/\A(\w+)://a && !$has{$1}) { $lacking{$1}++; next }
        my $name = $type . ($named{$type}++ ? " $named{$type}" : '');
        push @columns, ['"' . ($name =~ s/"/""/gr) . '"', $type, map { /\AE?'/ ? $_ : s/\A=// ? $_ : "'" . s/'/''/gr . "'" } @values];
    }
    return @columns;
}

sub table_of ($name, $constraint, @columns) { return "CREATE TABLE $name (id int PRIMARY KEY, " . join(', ', map { "$_->[0] $_->[1]$constraint" } @columns) . ');' }

# As many rows as the type with the most values needs; the rest is null, or the first value again.
sub rows_of ($name, $null, @columns) {
    my ($rows) = sort { $b <=> $a } map { @$_ - 2 } @columns;
    return join '', map { my $n = $_; "INSERT INTO $name VALUES ($n, " . join(', ', map { $_->[$n + 1] // ($null ? 'NULL' : $_->[2]) } @columns) . ');' } 1 .. $rows;
}

$pg->create_db('shop');
$has{$_} = 1 for split /\n/, $pg->sql('shop', 'SELECT name FROM pg_available_extensions');
$pg->sql('shop', "CREATE EXTENSION $_ SCHEMA public") for grep { $has{$_} } qw(hstore citext ltree);
$pg->sql('shop', "$style $types");
my @columns = columns_of($values);
my @numbers = columns_of($numbers);
SKIP: for my $extension (sort keys %lacking) { skip_without(0, "extension $extension is not there", $lacking{$extension}) }
cmp_ok(scalar @columns, '>', 115, 'many types');

# ---- changes whose tables stay as they are: [tables, changes] ----

my @parts;
sub part ($tables, $changes) { push @parts, [$tables, $changes] }

part(table_of('keyed', '', @columns) . table_of('whole', '', @columns) . 'ALTER TABLE whole REPLICA IDENTITY FULL;',
    join '', map { rows_of($_, 1, @columns) . "UPDATE $_ SET id = -id; DELETE FROM $_;" } qw(keyed whole));
part(table_of('numbers', '', @numbers) . table_of('numbers_whole', '', @numbers) . table_of('numbers_strict', ' NOT NULL', @numbers) . table_of('numbers_strict_whole', ' NOT NULL', @numbers)
    . 'ALTER TABLE numbers_whole REPLICA IDENTITY FULL; ALTER TABLE numbers_strict_whole REPLICA IDENTITY FULL;',
    join '', map { rows_of($_, !/strict/, @numbers) . "UPDATE $_ SET id = -id; DELETE FROM $_;" } qw(numbers numbers_whole numbers_strict numbers_strict_whole));

# What was before: each kind of identity; values out of line.
my $big = "repeat('x', 5000)";
my @identities = (keyed => 'DEFAULT', full => 'FULL', indexed => 'USING INDEX by_code_indexed', other => 'USING INDEX by_both_other');
while (my ($name, $identity) = splice @identities, 0, 2) {
    part("CREATE TABLE i_$name (big1 text, id int PRIMARY KEY, code text NOT NULL, n numeric NOT NULL, v int, big2 jsonb, a text[]);
        ALTER TABLE i_$name ALTER big1 SET STORAGE EXTERNAL, ALTER big2 SET STORAGE EXTERNAL, ALTER a SET STORAGE EXTERNAL;
        CREATE UNIQUE INDEX by_code_$name ON i_$name (code); CREATE UNIQUE INDEX by_both_$name ON i_$name (n, code);
        ALTER TABLE i_$name REPLICA IDENTITY $identity;",
        "INSERT INTO i_$name VALUES ($big, 1, 'a', 1.0, 1, to_jsonb($big), ARRAY[$big, NULL]), (NULL, 2, 'b', 2, NULL, NULL, NULL);
        UPDATE i_$name SET v = 2; UPDATE i_$name SET v = NULL; UPDATE i_$name SET v = v; UPDATE i_$name SET code = code || 'c'; UPDATE i_$name SET n = n + 0.50;
        UPDATE i_$name SET id = id + 10; UPDATE i_$name SET big1 = 'small' WHERE id = 11; UPDATE i_$name SET big2 = NULL WHERE id = 11;
        UPDATE i_$name SET a[2] = 'y' WHERE id = 11; UPDATE i_$name SET big1 = $big, v = 7;
        INSERT INTO i_$name VALUES (NULL, 11, 'z', 9) ON CONFLICT (id) DO UPDATE SET v = excluded.n;
        INSERT INTO i_$name VALUES (NULL, 11, 'z', 9) ON CONFLICT DO NOTHING; DELETE FROM i_$name WHERE id = 11;
        BEGIN; UPDATE i_$name SET id = 13; UPDATE i_$name SET id = 14, code = 'q', n = 0; DELETE FROM i_$name; COMMIT;");
}

# Keys of several columns, out of line, and tables that have none.
my $long = "repeat('k', 2500)";
part('CREATE TABLE two_keys (c text NOT NULL, a int, b text, PRIMARY KEY (b, a))',
    "INSERT INTO two_keys VALUES ('x', 1, 'b'); UPDATE two_keys SET c = 'y'; UPDATE two_keys SET a = 2; UPDATE two_keys SET a = 3, b = ''; DELETE FROM two_keys");
part('CREATE TABLE key_out_of_line (v int, k text PRIMARY KEY); ALTER TABLE key_out_of_line ALTER k SET STORAGE EXTERNAL',
    "INSERT INTO key_out_of_line VALUES (1, $long); UPDATE key_out_of_line SET v = 2; UPDATE key_out_of_line SET k = k || 'x'; DELETE FROM key_out_of_line");
part('CREATE TABLE keys_out_of_line (k1 text, v int, k2 text, PRIMARY KEY (k1, k2)); ALTER TABLE keys_out_of_line ALTER k1 SET STORAGE EXTERNAL, ALTER k2 SET STORAGE EXTERNAL',
    "INSERT INTO keys_out_of_line VALUES (left($long, 1250), 1, left($long, 1251)); UPDATE keys_out_of_line SET v = 2;
    UPDATE keys_out_of_line SET k1 = 'x', v = 3; UPDATE keys_out_of_line SET v = 4; DELETE FROM keys_out_of_line");
part('CREATE TABLE compressed (id int PRIMARY KEY, v int, t text, j json); ALTER TABLE compressed ALTER t SET STORAGE MAIN',
    "INSERT INTO compressed SELECT 1, 1, $big, to_json(string_agg(md5(g::text), '')) FROM generate_series(1, 500) g; UPDATE compressed SET v = 2; UPDATE compressed SET id = 2; DELETE FROM compressed");
part('CREATE TABLE full_only (a int, b text, c numeric); ALTER TABLE full_only REPLICA IDENTITY FULL',
    "INSERT INTO full_only VALUES (1, NULL), (1, NULL), (NULL, NULL), (NULL, 'x'); UPDATE full_only SET b = 'y' WHERE a = 1; UPDATE full_only SET c = 1; UPDATE full_only SET a = NULL, b = NULL, c = NULL;
    UPDATE full_only SET a = 1; UPDATE full_only SET a = NULL; DELETE FROM full_only");
part('CREATE TABLE full_keyed (a int, b text, id int PRIMARY KEY); ALTER TABLE full_keyed REPLICA IDENTITY FULL',
    "INSERT INTO full_keyed VALUES (NULL, NULL, 1), (1, 'a', 2); UPDATE full_keyed SET a = 5; UPDATE full_keyed SET id = id + 10;
    UPDATE full_keyed SET a = NULL, b = NULL; UPDATE full_keyed SET id = id + 10; DELETE FROM full_keyed");
part('CREATE TABLE full_of_keys (a int PRIMARY KEY, b int NOT NULL UNIQUE, c int UNIQUE); ALTER TABLE full_of_keys REPLICA IDENTITY FULL',
    'INSERT INTO full_of_keys VALUES (1, 2, 3), (2, 3, NULL); UPDATE full_of_keys SET b = b + 10; UPDATE full_of_keys SET a = a + 10; UPDATE full_of_keys SET c = NULL; DELETE FROM full_of_keys');
part('CREATE TABLE index_on_all (a int NOT NULL, b int NOT NULL); CREATE UNIQUE INDEX index_on_all_ab ON index_on_all (b, a); ALTER TABLE index_on_all REPLICA IDENTITY USING INDEX index_on_all_ab',
    'INSERT INTO index_on_all VALUES (1, 2); UPDATE index_on_all SET b = 3; UPDATE index_on_all SET b = b; DELETE FROM index_on_all');
part('CREATE TABLE no_key (a int, b text); CREATE TABLE no_identity (id int PRIMARY KEY, b text); ALTER TABLE no_identity REPLICA IDENTITY NOTHING',
    "INSERT INTO no_key VALUES (1, 'a'), (NULL, NULL); TRUNCATE no_key; INSERT INTO no_identity VALUES (1, 'a'); TRUNCATE no_identity");
part('CREATE TABLE empty (); ALTER TABLE empty REPLICA IDENTITY FULL', 'INSERT INTO empty DEFAULT VALUES; DELETE FROM empty');
part('CREATE TABLE wide (' . join(', ', map { "c$_ int2" } 1 .. 1600) . ', PRIMARY KEY (c1600))',
    'INSERT INTO wide VALUES (' . join(', ', map { $_ % 2 ? $_ : 'NULL' } 1 .. 1599) . ', 7); UPDATE wide SET c1600 = 8; UPDATE wide SET c1 = 2; DELETE FROM wide');
part('CREATE TABLE was_altered (id int PRIMARY KEY, gone text, v int, also int); ALTER TABLE was_altered DROP gone; ALTER TABLE was_altered REPLICA IDENTITY FULL;
    INSERT INTO was_altered VALUES (1, 2, 3); ALTER TABLE was_altered DROP also, ADD w numeric DEFAULT 1.50',
    'UPDATE was_altered SET v = 4; UPDATE was_altered SET w = 2; DELETE FROM was_altered');
part('CREATE TABLE computed (id int PRIMARY KEY, a int, twice int GENERATED ALWAYS AS (a * 2) STORED, b text)',
    "INSERT INTO computed (id, a, b) VALUES (1, 2, 'x'); UPDATE computed SET a = 3; UPDATE computed SET id = 2; DELETE FROM computed");

# Names.
my @names = ('Mixed Case', 'quo"te', "it's", 'back\\slash', 'dot.dot', 'é日本😀', "tab\there", "new\nline", ' ', '{a,b}', '%s', '$1', 'NULL',
    'a]b', 'a:b', 'a[text]:', 'x, y', 'select', ': INSERT: a', '"', '""', 'UPPER', '1st', 'ends"', '"begins', ',', ']',
    'unchanged-toast-datum', 'new-tuple:', '(no-tuple-data)', 't: TRUNCATE: (no-flags)', "control\x01\x1f", 'u\\u0041', "line\x{2028}");
sub quoted ($name) { return '"' . ($name =~ s/"/""/gr) . '"' }
my $odd_columns = join ', ', map { quoted($_) . ' int' } @names;
for my $name (@names) {
    my $table = quoted($name);
    part("CREATE TABLE $table ($odd_columns, PRIMARY KEY (" . join(', ', map { quoted($_) } @names[0 .. 29]) . '))',
        "INSERT INTO $table VALUES (" . join(', ', 1 .. @names) . "); UPDATE $table SET \"select\" = 0; DELETE FROM $table" . (length $name > 8 ? '' : "; TRUNCATE $table"));
}
for my $name ('Ö "s" x', 'a.b', '.', "q'") {
    my $schema = quoted($name);
    part("CREATE SCHEMA $schema; CREATE TABLE $schema.t (id int PRIMARY KEY, v text); CREATE TABLE $schema.$schema (id int PRIMARY KEY)",
        "INSERT INTO $schema.t VALUES (1, 'x'); UPDATE $schema.t SET id = 2; DELETE FROM $schema.t; INSERT INTO $schema.$schema VALUES (1); TRUNCATE $schema.t, $schema.$schema");
}

# Transactions.
part('CREATE TABLE t (id int PRIMARY KEY, name text); CREATE TABLE u (id int PRIMARY KEY); CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY)', q(
    BEGIN; INSERT INTO t VALUES (1, 'a'); SAVEPOINT s; INSERT INTO t VALUES (2, 'never'); ROLLBACK TO s; INSERT INTO t VALUES (3, 'c');
    SAVEPOINT s2; UPDATE t SET name = 'in a subtransaction'; SAVEPOINT s3; DELETE FROM t WHERE id = 3; RELEASE s2; INSERT INTO u VALUES (1); COMMIT;
    BEGIN; INSERT INTO t VALUES (4, 'never'); ROLLBACK; BEGIN; COMMIT; BEGIN; SELECT txid_current(); COMMIT; CREATE TABLE of_no_interest (); DROP TABLE of_no_interest;
    INSERT INTO unlogged VALUES (1); CREATE TEMP TABLE temporary (id int PRIMARY KEY); INSERT INTO temporary VALUES (1); UPDATE temporary SET id = 2;
    BEGIN; INSERT INTO temporary VALUES (1); INSERT INTO u VALUES (2); INSERT INTO unlogged VALUES (2); TRUNCATE temporary, unlogged; COMMIT;
    BEGIN; INSERT INTO t VALUES (5, 'prepared'); SAVEPOINT s; DELETE FROM u; PREPARE TRANSACTION 'it''s "prepared", é'; INSERT INTO t VALUES (6, 'between');
    COMMIT PREPARED 'it''s "prepared", é';
    BEGIN; INSERT INTO t VALUES (7, 'never'); PREPARE TRANSACTION 'p2'; ROLLBACK PREPARED 'p2';
    BEGIN; INSERT INTO t SELECT g, 'deep' FROM generate_series(100, 110) g;
    DO $$BEGIN FOR i IN 1 .. 100 LOOP BEGIN UPDATE t SET name = name || i WHERE id = 100; EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP; END$$; COMMIT));
part('CREATE TABLE parent (id int PRIMARY KEY, v text); CREATE TABLE child (w int, PRIMARY KEY (id)) INHERITS (parent)',
    "INSERT INTO parent VALUES (1, 'x'); INSERT INTO child VALUES (2, 'y', 3); UPDATE parent SET v = 'z'; UPDATE parent SET id = id + 10; DELETE FROM parent; TRUNCATE parent");
part('CREATE TABLE from_elsewhere (id int PRIMARY KEY)', q(
    SELECT pg_replication_origin_create('elsewhere, "é"'), pg_replication_origin_session_setup('elsewhere, "é"'); BEGIN; SELECT pg_replication_origin_xact_setup('1/2', '2020-01-02 03:04:05+00');
    INSERT INTO from_elsewhere VALUES (1); SELECT pg_logical_emit_message(true, 'p', 'x'); COMMIT; SELECT pg_replication_origin_session_reset(); INSERT INTO from_elsewhere VALUES (2)));
part("CREATE TABLE copied (id int PRIMARY KEY, v text DEFAULT 'x')", "COPY copied (id) FROM PROGRAM 'seq 300'; UPDATE copied SET v = id WHERE id % 7 = 0; DELETE FROM copied WHERE id % 11 = 0");
part('CREATE TABLE large (id int PRIMARY KEY, v text, n numeric(10,2))', 'INSERT INTO large SELECT g, md5(g::text), g / 3.0 FROM generate_series(1, 10000) g');

# Messages.
my @messages = ([0, 'free', "'one'"], [1, 'alone', "'y'"], [0, 'prefix "é", sz: 3 content:abc', "'x'"], [0, '', "''"], [1, "it's a\nb", q('{"a": 1}')],
    [1, 'binary', q('\x00ff10'::bytea)], [0, 'binary', q('\xff'::bytea)], [1, 'tail', q('\x6100'::bytea)], [1, 'long', "repeat('é', 5000)"]);
part('CREATE TABLE beside (id int PRIMARY KEY)', join '', (map { "SELECT pg_logical_emit_message(" . ($_->[0] ? 'true' : 'false') . ", '" . ($_->[1] =~ s/'/''/gr) . "', $_->[2]);" } @messages),
    q(BEGIN; INSERT INTO beside VALUES (1); SELECT pg_logical_emit_message(true, 'in', 'x'); SELECT pg_logical_emit_message(false, 'early', 'y'); INSERT INTO beside VALUES (2); COMMIT;
    BEGIN; INSERT INTO beside VALUES (3); SELECT pg_logical_emit_message(true, 'lost', 'x'); SELECT pg_logical_emit_message(false, 'stays', 'x'); ROLLBACK));

# Truncates.
part('CREATE TABLE truncated (id serial PRIMARY KEY); CREATE TABLE only_truncated_b (id int PRIMARY KEY); CREATE TABLE only_truncated_c (id int PRIMARY KEY, a int REFERENCES truncated)',
    'TRUNCATE only_truncated_b, only_truncated_c RESTART IDENTITY; BEGIN; INSERT INTO truncated DEFAULT VALUES; TRUNCATE truncated CASCADE; INSERT INTO truncated DEFAULT VALUES; COMMIT;
    TRUNCATE truncated, only_truncated_b, only_truncated_c RESTART IDENTITY CASCADE;
    BEGIN; TRUNCATE only_truncated_b; TRUNCATE only_truncated_b; COMMIT; BEGIN; TRUNCATE only_truncated_b; ROLLBACK');

# Partitions.
part('CREATE TABLE p (id int, region text, v text, PRIMARY KEY (region, id)) PARTITION BY LIST (region); CREATE TABLE p_eu PARTITION OF p FOR VALUES IN (\'eu\');
    CREATE TABLE p_us (v text, junk int, region text NOT NULL, id int NOT NULL); ALTER TABLE p_us DROP junk; ALTER TABLE p ATTACH PARTITION p_us FOR VALUES IN (\'us\');
    CREATE TABLE p_rest PARTITION OF p DEFAULT PARTITION BY RANGE (id); CREATE TABLE p_rest_low PARTITION OF p_rest FOR VALUES FROM (0) TO (100); CREATE TABLE p_rest_high PARTITION OF p_rest DEFAULT;
    CREATE TABLE p_new (id int NOT NULL, region text NOT NULL, v text); ALTER TABLE p_us ALTER v SET STORAGE EXTERNAL; ALTER TABLE p ALTER v SET STORAGE EXTERNAL',
    "INSERT INTO p SELECT 1, r, $big FROM unnest('{eu,us,jp}'::text[]) r; UPDATE p SET id = 2; UPDATE p SET v = 'x' WHERE region = 'us'; UPDATE p SET region = 'us', id = 3 WHERE region = 'eu';
    UPDATE p SET id = id + 200; DELETE FROM p WHERE region = 'us';
    INSERT INTO p_us VALUES ('direct', 'us', 5); UPDATE p_us SET id = 6; TRUNCATE p_us; TRUNCATE p_eu, p_rest; TRUNCATE p; INSERT INTO p VALUES (1, 'eu', 'again')");
part("CREATE TABLE pf (id int PRIMARY KEY, v text, w text) PARTITION BY RANGE (id); CREATE TABLE pf_full PARTITION OF pf FOR VALUES FROM (0) TO (10); CREATE TABLE pf_plain PARTITION OF pf DEFAULT;
    ALTER TABLE pf_full REPLICA IDENTITY FULL; CREATE TABLE fp (id int PRIMARY KEY, v text, w text) PARTITION BY RANGE (id); CREATE TABLE fp_full PARTITION OF fp FOR VALUES FROM (0) TO (10); CREATE TABLE fp_plain PARTITION OF fp DEFAULT;
    ALTER TABLE fp REPLICA IDENTITY FULL; ALTER TABLE fp_full REPLICA IDENTITY FULL; ALTER TABLE fp_plain ALTER v SET STORAGE EXTERNAL; ALTER TABLE fp_full ALTER v SET STORAGE EXTERNAL",
    join ';', map { my $t = $_; "INSERT INTO $t VALUES (1, $big, NULL), (21, $big, NULL), (31, NULL, NULL)",
        "UPDATE $t SET w = 'w'", "UPDATE $t SET w = NULL", "UPDATE $t SET id = id + 1", "UPDATE $t SET v = NULL", "DELETE FROM $t" } qw(pf fp));

# ---- tables that change meanwhile: [tables, statement …] ----

my @moving;
sub moving ($tables, $statements) { push @moving, [$tables, grep { /\S/ } split /\n\s*/, $statements] }

# Columns.
moving('CREATE TABLE m_columns (id int PRIMARY KEY, name text, x int)', q(
    INSERT INTO m_columns VALUES (1, 'a', 1)
    ALTER TABLE m_columns ADD n int DEFAULT 5
    INSERT INTO m_columns VALUES (2, 'b', NULL, 6)
    ALTER TABLE m_columns DROP name
    UPDATE m_columns SET n = 7 WHERE id = 1
    ALTER TABLE m_columns RENAME n TO num
    INSERT INTO m_columns VALUES (3, 1, 8)
    BEGIN; INSERT INTO m_columns VALUES (4); ALTER TABLE m_columns ADD t text; INSERT INTO m_columns VALUES (5, 1, 2, 'x'); COMMIT
    BEGIN; ALTER TABLE m_columns DROP x, ADD x bool; UPDATE m_columns SET id = id + 10; ALTER TABLE m_columns RENAME t TO text; DELETE FROM m_columns WHERE id = 11; COMMIT
    BEGIN; ALTER TABLE m_columns ADD never int; ROLLBACK
    BEGIN; SAVEPOINT s; ALTER TABLE m_columns DROP num; INSERT INTO m_columns VALUES (99, 'never', true); ROLLBACK TO s; INSERT INTO m_columns VALUES (6, 1, 'x', true); COMMIT
    UPDATE m_columns SET id = id + 10
    DELETE FROM m_columns));
moving('CREATE TABLE m_types (id int PRIMARY KEY, a int, b varchar(10), c numeric(10,2), d text, e timestamp, f int[], g bytea)', q(
    INSERT INTO m_types VALUES (1, 1, 'b', 1.5, '{"a": 1}', '2020-01-02 03:04:05', '{1,2}', '\x00ff')
    ALTER TABLE m_types ALTER a TYPE text, ALTER b TYPE varchar(20), ALTER c TYPE numeric(12,4), ALTER d TYPE jsonb USING d::jsonb, ALTER e TYPE timestamptz, ALTER f TYPE text[] USING f::text[], ALTER g TYPE text USING encode(g, 'hex')
    UPDATE m_types SET a = 'null'
    ALTER TABLE m_types ALTER a TYPE int8 USING 7, ALTER c TYPE float8, ALTER g TYPE bool USING true
    UPDATE m_types SET id = 2
    INSERT INTO m_types VALUES (3)
    ALTER TABLE m_types ALTER a TYPE bool USING false
    DELETE FROM m_types WHERE id = 2
    UPDATE m_types SET b = 'x'));
moving('CREATE TABLE m_swapped (id int PRIMARY KEY, a int, b int, t text)', q(
    INSERT INTO m_swapped VALUES (1, 10, 20, 'x')
    ALTER TABLE m_swapped RENAME a TO x; ALTER TABLE m_swapped RENAME b TO a; ALTER TABLE m_swapped RENAME x TO b
    INSERT INTO m_swapped VALUES (2, 10, 20, 'x')
    ALTER TABLE m_swapped DROP a, ADD a text DEFAULT 'new'
    UPDATE m_swapped SET b = 1
    DELETE FROM m_swapped));
moving('CREATE TABLE m_null (id int PRIMARY KEY, a int, n numeric)', q(
    INSERT INTO m_null VALUES (1, NULL, NULL)
    UPDATE m_null SET a = 1, n = 1
    ALTER TABLE m_null ALTER a SET NOT NULL, ALTER n SET NOT NULL
    UPDATE m_null SET id = 2
    ALTER TABLE m_null ALTER n DROP NOT NULL
    INSERT INTO m_null VALUES (3, 1, NULL)));
moving("CREATE TYPE m_mood AS ENUM ('sad', 'ok'); CREATE DOMAIN m_domain AS numeric(6,2); CREATE TABLE m_type (id int PRIMARY KEY, m m_mood, ms m_mood[], d m_domain, v int)", q(
    INSERT INTO m_type VALUES (1, 'ok', '{ok}', 1, 1)
    ALTER TYPE m_mood RENAME VALUE 'ok' TO 'fine'
    UPDATE m_type SET v = 2
    ALTER TYPE m_mood RENAME TO m_temper
    UPDATE m_type SET v = 3
    ALTER TABLE m_type DROP m, DROP ms, DROP d; DROP TYPE m_temper; DROP DOMAIN m_domain
    UPDATE m_type SET v = 4));

# Keys and identities.
moving('CREATE TABLE m_identity (id int PRIMARY KEY, code text NOT NULL, v int, w text); CREATE UNIQUE INDEX m_identity_code ON m_identity (code)', join "\n",
    "INSERT INTO m_identity VALUES (1, 'a', 1, NULL)", map { ($_, 'UPDATE m_identity SET v = v + 1', "UPDATE m_identity SET code = code || 'x'", 'UPDATE m_identity SET id = id + 1',
        "INSERT INTO m_identity VALUES (100, 'b', NULL, 'x')", 'DELETE FROM m_identity WHERE id = 100') }
    'SELECT 1', 'ALTER TABLE m_identity REPLICA IDENTITY FULL', 'ALTER TABLE m_identity REPLICA IDENTITY USING INDEX m_identity_code', 'ALTER TABLE m_identity REPLICA IDENTITY DEFAULT',
    'ALTER TABLE m_identity REPLICA IDENTITY FULL', 'ALTER TABLE m_identity DROP CONSTRAINT m_identity_pkey, ADD PRIMARY KEY (code)', 'ALTER TABLE m_identity REPLICA IDENTITY DEFAULT');
moving('CREATE TABLE m_key_renamed (id int PRIMARY KEY, v int)', q(
    INSERT INTO m_key_renamed VALUES (1, 1)
    UPDATE m_key_renamed SET id = 2
    UPDATE m_key_renamed SET v = 2
    ALTER TABLE m_key_renamed RENAME id TO key
    INSERT INTO m_key_renamed VALUES (3, 3)
    UPDATE m_key_renamed SET key = key + 10
    DELETE FROM m_key_renamed));

# Values that are left out.
moving('CREATE TABLE m_toast (id int PRIMARY KEY, big text, v int, big2 text); ALTER TABLE m_toast ALTER big SET STORAGE EXTERNAL, ALTER big2 SET STORAGE EXTERNAL', <<"END");
    INSERT INTO m_toast VALUES (1, $big, 1, $big)
    UPDATE m_toast SET v = 2
    ALTER TABLE m_toast RENAME big2 TO large
    UPDATE m_toast SET v = 3
    ALTER TABLE m_toast ADD big2 text, DROP big
    UPDATE m_toast SET v = 4
    UPDATE m_toast SET big2 = $big
    UPDATE m_toast SET v = 5
    UPDATE m_toast SET large = NULL
    ALTER TABLE m_toast ALTER v TYPE text
    UPDATE m_toast SET v = 6
    DELETE FROM m_toast
END

# Tables.
moving('CREATE TABLE m_renamed (id int PRIMARY KEY, v int)', q(
    INSERT INTO m_renamed VALUES (1, 2)
    ALTER TABLE m_renamed RENAME TO m_new_name
    INSERT INTO m_new_name VALUES (2, 3)
    UPDATE m_new_name SET id = 3 WHERE id = 2
    DELETE FROM m_new_name));
moving('CREATE TABLE m_again (id int PRIMARY KEY, a int, b varchar(5)); CREATE TABLE m_taken (id int PRIMARY KEY, v int)', q(
    INSERT INTO m_again VALUES (1, 2, 'x')
    UPDATE m_again SET id = 2
    DROP TABLE m_again; CREATE TABLE m_again (b text, id int8, code int NOT NULL, PRIMARY KEY (code, id))
    INSERT INTO m_again VALUES ('y', 1, 3)
    UPDATE m_again SET code = 4
    DELETE FROM m_again
    INSERT INTO m_taken VALUES (1, 2)
    ALTER TABLE m_taken RENAME TO m_was; CREATE TABLE m_taken (v text, id uuid PRIMARY KEY)
    INSERT INTO m_taken VALUES ('x', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11')
    INSERT INTO m_was VALUES (2, 3)
    UPDATE m_was SET id = 3 WHERE id = 2
    DELETE FROM m_taken));
moving("CREATE TYPE m_gone_mood AS ENUM ('sad', 'ok'); CREATE TABLE m_gone (id int PRIMARY KEY, m m_gone_mood, ms m_gone_mood[], v varchar(7), n numeric(5,1));
    CREATE TABLE m_gone_full (a int, b text); ALTER TABLE m_gone_full REPLICA IDENTITY FULL", q(
    INSERT INTO m_gone VALUES (1, 'ok', '{ok,sad}', 'x', 2)
    UPDATE m_gone SET v = 'y'
    UPDATE m_gone SET id = 2
    DELETE FROM m_gone
    TRUNCATE m_gone
    DROP TABLE m_gone; DROP TYPE m_gone_mood
    INSERT INTO m_gone_full VALUES (1, NULL)
    UPDATE m_gone_full SET b = 'x'
    UPDATE m_gone_full SET a = NULL
    DELETE FROM m_gone_full
    DROP TABLE m_gone_full));
moving('CREATE SCHEMA m_schema; CREATE TABLE m_schema.m_moved (id int PRIMARY KEY, v text); CREATE TABLE m_schema.m_stays (id int PRIMARY KEY, v text)', q(
    INSERT INTO m_schema.m_moved VALUES (1, 'a')
    ALTER TABLE m_schema.m_moved SET SCHEMA public
    UPDATE m_moved SET id = 2
    INSERT INTO m_schema.m_stays VALUES (1, 'a')
    ALTER SCHEMA m_schema RENAME TO m_schema2
    UPDATE m_schema2.m_stays SET id = 2
    DELETE FROM m_schema2.m_stays));
moving("CREATE TABLE m_p (id int, region text, v text, PRIMARY KEY (region, id)) PARTITION BY LIST (region); CREATE TABLE m_p_eu PARTITION OF m_p FOR VALUES IN ('eu');
    CREATE TABLE m_p_us (v text, region text NOT NULL, id int NOT NULL, PRIMARY KEY (region, id)); CREATE TABLE m_p_jp PARTITION OF m_p FOR VALUES IN ('jp')", q(
    INSERT INTO m_p VALUES (1, 'eu', 'x')
    ALTER TABLE m_p DETACH PARTITION m_p_eu
    UPDATE m_p_eu SET id = 2
    INSERT INTO m_p_us VALUES ('alone', 'us', 1)
    ALTER TABLE m_p ATTACH PARTITION m_p_us FOR VALUES IN ('us')
    INSERT INTO m_p VALUES (2, 'us', 'y')
    UPDATE m_p SET v = 'z'
    ALTER TABLE m_p ADD w int
    INSERT INTO m_p VALUES (3, 'us', 'y', 5)
    INSERT INTO m_p VALUES (9, 'jp', 'x')
    TRUNCATE m_p
    DROP TABLE m_p_jp
    CREATE TABLE m_p_cn PARTITION OF m_p FOR VALUES IN ('cn')
    INSERT INTO m_p VALUES (1, 'cn', 'x')
    TRUNCATE m_p_cn));

# In transactions that change rows as well: no end of a transaction tells that the catalogs have changed.
my $within = @moving;
moving('CREATE TABLE m_in_transaction (id int PRIMARY KEY, code text NOT NULL UNIQUE, v int)', q(
    INSERT INTO m_in_transaction VALUES (1, 'a', NULL)
    BEGIN; UPDATE m_in_transaction SET code = 'b'; ALTER TABLE m_in_transaction REPLICA IDENTITY FULL; UPDATE m_in_transaction SET code = 'c'; UPDATE m_in_transaction SET id = 2; COMMIT
    UPDATE m_in_transaction SET v = 1
    UPDATE m_in_transaction SET v = NULL
    BEGIN; ALTER TABLE m_in_transaction REPLICA IDENTITY USING INDEX m_in_transaction_code_key; UPDATE m_in_transaction SET code = 'd'; UPDATE m_in_transaction SET v = 3; COMMIT
    UPDATE m_in_transaction SET id = 5
    BEGIN; DELETE FROM m_in_transaction; ALTER TABLE m_in_transaction REPLICA IDENTITY DEFAULT; INSERT INTO m_in_transaction VALUES (1, 'x', 1); UPDATE m_in_transaction SET id = 7; COMMIT
    DELETE FROM m_in_transaction));
moving('CREATE TABLE m_toast_within (id int PRIMARY KEY, big text, v int); ALTER TABLE m_toast_within ALTER big SET STORAGE EXTERNAL', <<"END");
    INSERT INTO m_toast_within VALUES (1, $big, 1)
    BEGIN; UPDATE m_toast_within SET v = 2; ALTER TABLE m_toast_within ADD new text; UPDATE m_toast_within SET v = 3; ALTER TABLE m_toast_within DROP big; UPDATE m_toast_within SET v = 4; COMMIT
    UPDATE m_toast_within SET id = 2
END

sub tables_in ($db, @parts) {
    $pg->create_db($db) unless $db eq 'shop';
    $pg->sql($db, $style . join ";\n", map { $_->[0] } @parts);
}

# ---- it all ----

my @all = qw(--transactions --schema-events --messages);
tables_in('shop', @parts);
my $slots = CdcTest::Plugins->new(server => $pg, db => 'shop', name => 'settled', env => \@env)->create;
SKIP: for my $library (sort keys %{ $slots->missing }) { skip_without(0, $slots->missing->{$library}) }
$pg->sql('shop', $style . join ";\n", map { $_->[1] } @parts);
my ($debezium, $selected, $old) = map { $slots->copy($_) } qw(debezium selected old);
my @plain = (qw(-v -e plain), @all, '-K', '\t');
my $plain = $slots->run(@plain);

# The plugin of today that does not know an option is as good as one from before the option was there.
SKIP: {
    skip_without(!$slots->missing->{wal2json}, $slots->missing->{wal2json}, 6);
    my $library = slurp($pg->sql('shop', q(SELECT setting FROM pg_config WHERE name = 'PKGLIBDIR')) . '/wal2json.so');
    chmod 0755, $libraries;
    for (['wal2json_before_2_0', 'wal2json', 'format-version'], ['wal2json_before_2_5', 'wal2json_rds', 'include-type-oids']) {
        my ($name, $plugin, $option) = @$_;
        (my $without = $library) =~ s/\b$option\b/reverse $option/ge;
        isnt($without, $library, "$name: the plugin knows no $option");
        spew("$libraries/new", $without);    # a server process may have the one before still loaded
        rename "$libraries/new", "$libraries/wal2json.so" or die "rename: $!";
        $plain->{$name} = $old->start($plugin, ['-E', 'now', @plain], @env)->wait;
        $plain->{$name}->exited(0, "$name is read");
        like($plain->{$name}->err, qr/^cdcdump: plugin "wal2json" does not know option "$option": trying again without it$/m, "$name: it is done without");
    }
    unlink "$libraries/wal2json.so";
}
@known = grep { !$_->{numbers} } @known if $plain->{wal2json} && $plain->{wal2json}->err !~ /does not know option "numeric-data-types-as-string"/;
CdcTest::Plugins::compare('plain', $plain, \@known);
my %told;    # table -> how many rows and truncates
$told{ $_->{table} }++ for grep { $_->{op} =~ /\A[cudt]\z/ } @{ CdcTest::Plugins::records_of($plain->{pgoutput}) };
is($told{'public.large'}, 10_000, 'a large transaction is told of');
cmp_ok(scalar keys %told, '>=', @parts, 'and so is every table');
CdcTest::Plugins::compare('debezium', $debezium->run(@all, qw(-T large)), \@known);

# Less of it: what is left out is left out in the same way.
my @less = ('-n', 'public', '-T', 'keyed|large|wide|numbers.*', '-T', 'public\.i_(full|other)', '--exclude-column', 'public\.(i_\w+|p)\.(big1|v|n|region)', '--skip-ops', 'd');
CdcTest::Plugins::compare('selected', $selected->run(qw(-e plain), @less), \@known);

# Read when all of it has happened: the catalogs are ahead.
tables_in('ahead', @moving);
my $ahead = CdcTest::Plugins->new(server => $pg, db => 'ahead', name => 'ahead', env => \@env)->create;
$pg->sql('ahead', $style . join ";\n", map { @$_[1 .. $#$_] } @moving);
CdcTest::Plugins::compare('ahead', $ahead->run(qw(-e plain), @all), \@known);

# Read while it happens: the next statement follows when all have printed what the last one did.
splice @moving, $within;
tables_in('live', ['CREATE TABLE mark (id int)'], @moving);
my $live = CdcTest::Plugins->new(server => $pg, db => 'live', name => 'live', env => \@env)->create;
my %run = map { ($_ => $live->start($_, [qw(-e plain), @all, '-K', '\t'], @env)) } $live->plugins;
my $session = $pg->session('live');
$session->sql($style);
for my $statement (map { @$_[1 .. $#$_] } @moving) {
    $session->sql("$statement; INSERT INTO mark VALUES (1)");
    $run{$_}->read_until(qr/"op":"end".*"table":"mark"/) for $live->plugins;
}
my %result = map { ($_ => $run{$_}->stop) } $live->plugins;
$result{$_}->exited(0, "live: $_ is stopped") for $live->plugins;
CdcTest::Plugins::compare('live', \%result, \@known);

# Text that is not in UTF-8 on the server.
$pg->sql('postgres', "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0");
$pg->sql('latin', $style . q(
    CREATE SCHEMA "sché"; CREATE TYPE "möd" AS ENUM ('ä', 'b');
    CREATE TABLE "sché"."täble" (id int PRIMARY KEY, "é" text, a text[], "ö" "möd", c char(3), n name, q "char"); ALTER TABLE "sché"."täble" ALTER "é" SET STORAGE EXTERNAL;
    CREATE TABLE t ("ü" text PRIMARY KEY, b bytea, j json, x xml)));
my $latin = CdcTest::Plugins->new(server => $pg, db => 'latin', name => 'latin', env => \@env)->create;
$pg->sql('latin', $style . q(
    INSERT INTO "sché"."täble" VALUES (1, 'ÿ¡ÿ×÷', '{"é",b}', 'ä', 'é', 'ñ', 'x'), (2, repeat('é', 3000), NULL, NULL, NULL, NULL, NULL);
    UPDATE "sché"."täble" SET c = 'ß'; UPDATE "sché"."täble" SET id = id + 10; DELETE FROM "sché"."täble"; TRUNCATE "sché"."täble";
    INSERT INTO t VALUES ('É', '\xe9ff', '{"é": "\u00e9"}', '<é/>'); UPDATE t SET "ü" = 'È'; DELETE FROM t;
    SELECT pg_logical_emit_message(true, 'prä', 'é'); SELECT pg_logical_emit_message(false, 'prä', '\xe9'::bytea)));
my $texts = $latin->run(qw(-e plain), @all);
like(decode_utf8($texts->{pgoutput}->out), qr/"row":\{"id":1,"é":"ÿ¡ÿ×÷"/, 'latin: pgoutput gives UTF-8');
CdcTest::Plugins::compare('latin', $texts, \@known);

# Without a publication the server allows updates and deletes that have no identity.  What each plugin
# makes of them: [operations, what is said].
$pg->create_db('loose');
$pg->sql('loose', 'CREATE TABLE no_key (a int, b text, c text); ALTER TABLE no_key ALTER c SET STORAGE EXTERNAL;
    CREATE TABLE nothing (id int PRIMARY KEY, b text); ALTER TABLE nothing REPLICA IDENTITY NOTHING');
my $loose = CdcTest::Plugins->new(server => $pg, db => 'loose', name => 'loose', env => \@env)->create;
$pg->sql('loose', "DROP PUBLICATION loose; INSERT INTO no_key VALUES (1, 'a', $big), (NULL, NULL, NULL); BEGIN; UPDATE no_key SET b = 'b'; INSERT INTO nothing VALUES (1, 'x'); COMMIT;
    DELETE FROM no_key WHERE a = 1; UPDATE nothing SET b = 'y'; UPDATE nothing SET id = 2; DELETE FROM nothing");
my %row = (
    a => '{"a":1,"b":"a","c":"long"}', updated => '{"a":1,"b":"b","c":"__debezium_unavailable_value"}', null => '{"a":null,"b":null,"c":null}', null_updated => '{"a":null,"b":"b","c":null}',
    x => '{"id":1,"b":"x"}', y => '{"id":1,"b":"y"}', id => '{"id":2,"b":"y"}',
);
my @inserts = ("c 1 no_key $row{a}", "c 2 no_key $row{null}");
my %loose = (
    (map { ($_ => [[@inserts, "c 1 nothing $row{x}"], qr/leaves updates and deletes of it out/]) } @CdcTest::Plugins::WAL2JSON),
    decoderbufs => [[@inserts, "c 1 nothing $row{x}", 'd 1 no_key null', 'd 1 nothing null'], qr/leaves updates of it out, and deletes of it do not tell which row is gone/],
    test_decoding => [[@inserts, "u 1 no_key $row{updated}", "u 2 no_key $row{null_updated}", "c 3 nothing $row{x}", 'd 1 no_key null', "u 1 nothing $row{y}", "u 1 nothing $row{id}",
        'd 1 nothing null'], qr/deletes of it do not tell which row is gone/],
);
for my $plugin (grep { $_ ne 'pgoutput' } $loose->plugins) {
    my $r = $loose->start($plugin, [qw(-E now -e plain)], @env)->wait;
    $r->exited(0, "$plugin: rows without an identity");
    my @got = map { /"op":"(\w)".*"seq":(\d+).*"table":"(\w+)","key":null,"row":(.*),"old":null\}\z/ ? "$1 $2 $3 $4" : $_ } $r->lines;
    is(join("\n", @got) =~ s/x{5000}/long/gr, join("\n", @{ $loose{$plugin}[0] }), "$plugin: what is told of them");
    like($r->err, qr/^cdcdump: warning: table public\.$_ has no replica identity: .*$loose{$plugin}[1]/m, "$plugin: $_ is warned about") for qw(no_key nothing);
}

CdcTest::Plugins::all_occur(\@known);
done_testing;
