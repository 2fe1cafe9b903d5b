# Values by Debezium's rules, from a real server: --types=debezium and single modes of --set, in the
# stream, in rows of a snapshot and through the other plugins' texts.  The expected JSON is written by
# hand from reference/formats.md, sections 5.2 and 5.3.
use v5.36;
use utf8;
use CdcTest;

my $pg = PgServer->new(extra_conf => { max_replication_slots => 20 });
$pg->create_db('shop');
my %has = map { $_ => 1 } split /\n/, $pg->sql('shop', 'SELECT name FROM pg_available_extensions');
$pg->sql('shop', "CREATE EXTENSION $_") for grep { $has{$_} } qw(hstore citext ltree);
$pg->sql('shop', q(CREATE TYPE mood AS ENUM ('sad', 'MEDIUM'); CREATE TYPE pair AS (n int, label text);
    CREATE DOMAIN price AS numeric(12,2); CREATE DOMAIN moment AS timestamp(3)));
my $version = $pg->version;

# [type, SQL literal, JSON with --types=debezium, {setting => JSON}]
my @cases = (
    ['bool', 't', 'true'], ['int8', '9223372036854775807', '9223372036854775807'], ['float4', '3.3', '3.3'], ['float8', 'NaN', '"NaN"'],
    ['numeric(3,2)', '1.1', '"bg=="', { 'decimal.handling.mode=string' => '"1.10"', 'decimal.handling.mode=double' => '1.1' }],
    ['numeric', '10.1111', '{"scale":4,"value":"AYr3"}', { 'decimal.handling.mode=double' => '10.1111' }],
    ['numeric', 'NaN', '"NaN"', { 'decimal.handling.mode=string' => '"NAN"', 'decimal.handling.mode=double' => '"NaN"' }],
    ['price', '1234.11', '"AeIT"'], ['price[]', '{1234.11,NULL}', '["AeIT",null]'], ['numeric(3,2)[]', '{1.1}', '["bg=="]'],
    ['money', '1234.11', '"AeIT"', { 'decimal.handling.mode=string' => '"1234.11"', 'money.fraction.digits=3' => '"EtS+"' }],
    ['money', '-92233720368547758.08', '"gAAAAAAAAAA="', { 'decimal.handling.mode=string' => '"-92233720368547758.08"' }],
    ['char(10)', 'cone', '"cone      "'], ['mood', 'MEDIUM', '"MEDIUM"'], ['inet', '192.168.2.0/12', '"192.168.2.0/12"'],
    ['json', '{"bar":   "baz"}', '"{\"bar\":   \"baz\"}"'], ['jsonb', '{"bar":"baz"}', '"{\"bar\": \"baz\"}"'],
    ['json[]', '{"{\"a\": 1}"}', '["{\"a\": 1}"]'], ['uuid', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"'],
    ['int4range', '[1000,6000)', '"[1000,6000)"'], ['tsvector', 'direct:6 insert:8', q("'direct':6 'insert':8")],
    ['bit(24)', '000000110000001000000001', '"AQID"'], ['bit', '1', 'true'], ['varbit(1)', '0', 'false'], ['varbit', '101', '"BQ=="'],
    ['bit(64)', '1' . '0' x 63, '"AAAAAAAAAIA="'], ['bit(8)[]', '{00000001}', '["AQ=="]'],
    ['bytea', '\x010203', '"AQID"', { 'binary.handling.mode=hex' => '"010203"', 'binary.handling.mode=base64' => '"AQID"' }],
    ['bytea', '\xfbff', '"+/8="', { 'binary.handling.mode=base64-url-safe' => '"-_8="' }], ['bytea[]', '{"\\\\x0102"}', '["AQI="]'],
    ['point', '(1,1)', '{"x":1,"y":1,"wkb":"AQEAAAAAAAAAAADwPwAAAAAAAPA/","srid":null}'],
    ['date', '2017-09-15', '17424', { 'time.precision.mode=isostring' => '"2017-09-15Z"', 'time.precision.mode=connect' => '17424' }],
    ['date', 'infinity', '-2147472692'], ['date', '-infinity', '-2147472691'], ['date[]', '{1970-01-02}', '[1]'],
    ['time(3)', '04:05:11.789', '14711789', { 'time.precision.mode=microseconds' => '14711789000', 'time.precision.mode=isostring' => '"04:05:11.789Z"' }],
    ['time', '24:00:00', '86400000000', { 'time.precision.mode=nanoseconds' => '86400000000000' }], ['time(4)', '04:05:11.789', '14711789000'],
    ['timestamp', '2016-11-04 13:51:30.123456', '1478267490123456', { 'time.precision.mode=connect' => '1478267490123' }],
    ['timestamp(3)', '2016-11-04 13:51:30.123', '1478267490123', { 'time.precision.mode=nanoseconds' => '1478267490123000000' }],
    ['moment', '2016-11-04 13:51:30.123', '1478267490123'], ['timestamp(0)[]', '{1970-01-01 00:00:01}', '[1000]'],
    ['timestamp', '4713-12-31 23:59:59.999999 BC', '-210831897600000001'], ['timestamp', 'infinity', '9223372036825200000'],
    ['timestamp', '294276-12-31 23:59:59.999999', '9224318015999999999'], ['timestamp', '-infinity', '-9223372036832400000'],
    ['timestamptz', '2016-11-04 13:51:30.123456+02', '"2016-11-04T11:51:30.123456Z"', { 'time.precision.mode=connect' => '"2016-11-04T11:51:30.123456Z"' }],
    ['timestamptz', '21016-11-04 13:51:30+07', '"+21016-11-04T06:51:30.000000Z"'], ['timestamptz(3)', '2016-11-04 13:51:30+00', '"2016-11-04T13:51:30.000Z"'],
    ['timestamptz(0)', '2016-11-04 13:51:30+00', '"2016-11-04T13:51:30Z"'], ['timestamptz', 'infinity', '"infinity"'],
    ['timestamptz', '4714-12-31 23:59:59.999999+00 BC', '"-4713-12-31T23:59:59.999999Z"'],
    ['timetz', '13:51:30.123789+02', '"11:51:30.123789Z"'], ['timetz[]', '{13:51:02+02,14:51:03+02}', '["11:51:02Z","12:51:03Z"]'],
    ['interval', 'P1Y2M3DT4H5M6.78S', '37091106780000', { 'interval.handling.mode=string' => '"P1Y2M3DT4H5M6.78S"' }],
    ['interval', '-1 day', '-86400000000', { 'interval.handling.mode=string' => '"P0Y0M-1DT0H0M0S"' }],
    ['pair', '(1,a)', '"(1,a)"', { 'include.unknown.datatypes=true' => '"KDEsYSk="' }],
    ['tsquery', "'fat' <-> 'cat'", q("'fat' <-> 'cat'"), { 'include.unknown.datatypes=true' => '"J2ZhdCcgPC0+ICdjYXQn"' }],
    ['circle', '<(1,2),3>', '"<(1,2),3>"'], ['int4[]', '{{1,2},{3,4}}', '[[1,2],[3,4]]'], ['text[]', '{a,NULL}', '["a",null]'],
    $version >= 14 ? (['numeric', '-Infinity', '"-Infinity"', { 'decimal.handling.mode=string' => '"NEGATIVE_INFINITY"' }]) : (),
    $version >= 17 ? (['interval', 'infinity', '"infinity"']) : (),
    $has{hstore} ? (['hstore', 'key1=>val1,key2=>NULL', '"{\"key1\":\"val1\",\"key2\":null}"', { 'hstore.handling.mode=map' => '{"key1":"val1","key2":null}' }],
        ['hstore[]', '{a=>1}', '["{\"a\":\"1\"}"]']) : (),
    $has{citext} ? (['citext', 'Ab', '"Ab"']) : (), $has{ltree} ? (['ltree', 'Top.Science', '"Top.Science"']) : (),
);
my @columns = map { sprintf 'c%03d', $_ } 0 .. $#cases;
$pg->sql('shop', 'CREATE TABLE v (id int PRIMARY KEY, ' . join(', ', map { "$columns[$_] $cases[$_][0]" } 0 .. $#cases) . ');
    ALTER TABLE v REPLICA IDENTITY FULL');

my %settings = map { $_ => 1 } map { keys %{ $_->[3] // {} } } @cases;
my @runs = (['', '--types=debezium'], map { [$_, '--types=debezium', '--set', $_] } sort keys %settings);
my %slot;
sub capture ($slot, @args) { return Cdc->run(server => $pg, db => 'shop', args => ['-S', $slot, qw(-m never -E now), @args]) }
capture('one')->exited(0, 'a slot');
capture('binary', '-o', 'binary')->exited(0, 'a slot for the binary form') if $version >= 14;
my $values = join ', ', map { "'" . ($_->[1] =~ s/'/''/gr) . "'" } @cases;
$pg->sql('shop', "SET intervalstyle = postgres; INSERT INTO v VALUES (1, $values)");

sub check ($r, $setting, $name) {
    $r->exited(0, $name);
    my ($row) = $r->out =~ /"after":\{"id":1,(.*?)\},"source":/ or return fail("$name: a row");
    my %got = map { /\A(c\d\d\d)":(.*)\z/s ? ($1 => $2) : () } split /,?"(?=c\d\d\d":)/, $row;
    for my $i (0 .. $#cases) {
        my ($type, $sql, $json, $special) = @{ $cases[$i] };
        my $family = $setting =~ /^([^=]+)/ ? $1 : '';
        my $want = $setting && $special && $special->{$setting} ? $special->{$setting} : $setting ? next : $json;
        is($got{ $columns[$i] }, $want, "$name: $type " . substr $sql, 0, 40);
    }
}
for my $run (@runs) {
    my ($setting, @args) = @$run;
    check(Cdc->run(server => $pg, db => 'shop', args => [qw(-S rows -m initial_only), @args]), $setting, "rows, @args");
}
for my $run (@runs) {
    my ($setting, @args) = @$run;
    next unless $setting;
    check(Cdc->run(server => $pg, db => 'shop', args => [qw(-S rows -m initial_only --set), $setting]), $setting, "readable rows, $setting")
        unless $setting =~ /money/;
}
check(capture('one', '--types=debezium'), '', 'stream');
if ($version >= 14) {
    my $r = capture('binary', '-o', 'binary', '--types=debezium');
    like($r->err, qr/binary form of its type is not known/, 'binary stops at what it does not know');
}
done_testing();
