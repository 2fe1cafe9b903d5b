# What tests of Avro stand on: both readers give the exact values, which are the same for both, and
# blocks are taken apart as they are.  All files here are made by python3-avro and libavro.
use v5.36;
use utf8;
use CdcTest;
use CdcTest::Avro;
use CdcTest::Process;

skip_all_without(!avro_lacks(), avro_lacks());

my $dir = scratch();
my $python = CdcTest::Avro::_python();

# FILE CODEC: the records that the program's write() adds to a file of its schema; every datum is a
# function that is given the encoder, so that what is written is what is said here.
my $writer = <<~'PYTHON';
    import random, sys, warnings
    import avro.datafile, avro.io, avro.schema

    class Writer(avro.io.DatumWriter):
        def write(self, datum, encoder):
            datum(encoder)

    def write_file(schema, data, every=None):
        warnings.simplefilter("ignore")
        file = avro.datafile.DataFileWriter(open(sys.argv[1], "wb"), Writer(), avro.schema.parse(schema), codec=sys.argv[2])
        for i, datum in enumerate(data):
            file.append(datum)
            if every and i % every == every - 1:
                file.sync()
        file.close()
    PYTHON

sub make ($name, $codec, $program) {
    my $path = "$dir/$name-$codec.avro";
    my $r = CdcTest::Process->capture(argv => [$python, '-c', "$writer\n$program", $path, $codec]);
    die "could not make $path: $r->{err}" unless defined $r->{exit} && $r->{exit} == 0;
    return $path;
}

sub same ($path, $name) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return is_deeply([read_avrocat($path)], [read_python($path, avrocat => 1)], "$name: both readers agree");
}

# ---- every type ----

my $types = <<~'PYTHON';
    schema = """{"type": "record", "name": "row", "namespace": "shop.public", "fields": [
      {"name": "boolean", "type": "boolean"}, {"name": "int", "type": "int"}, {"name": "long", "type": ["null", "long"]},
      {"name": "float", "type": "float"}, {"name": "double", "type": ["null", "double"]}, {"name": "bytes", "type": "bytes"},
      {"name": "string", "type": "string"}, {"name": "uuid", "type": {"type": "string", "logicalType": "uuid"}},
      {"name": "decimal", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 40, "scale": 20}]},
      {"name": "date", "type": {"type": "int", "logicalType": "date"}},
      {"name": "time", "type": {"type": "long", "logicalType": "time-micros"}},
      {"name": "timestamp", "type": {"type": "long", "logicalType": "local-timestamp-micros"}},
      {"name": "timestamptz", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}]},
      {"name": "millis", "type": {"type": "long", "logicalType": "timestamp-millis"}},
      {"name": "array", "type": ["null", {"type": "array", "items": ["null", "int"]}, "string"]},
      {"name": "map", "type": {"type": "map", "values": ["null", "string"]}},
      {"name": "inner", "type": ["null", {"type": "record", "name": "part", "fields": [{"name": "x", "type": "long"}]}]},
      {"name": "again", "type": ["null", "part"]}]}"""

    def one(e):
        e.write_boolean(True); e.write_int(-2147483648); e.write_long(1); e.write_long(9223372036854775807)
        e.write_float(0.1); e.write_long(1); e.write_double(-0.0); e.write_bytes(b"\x00\xff"); e.write_utf8('a"\\ \u20ac {1:2}')
        e.write_utf8("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"); e.write_long(1)
        e.write_bytes((-123456789012345678900000000000000000001).to_bytes(16, "big", signed=True))
        e.write_long(19478); e.write_long(45296789000); e.write_long(1682944496789000); e.write_long(1)
        e.write_long(-1); e.write_long(1682944496789)
        e.write_long(1); e.write_long(2); e.write_long(1); e.write_int(-7); e.write_long(0); e.write_long(0)
        e.write_long(2); e.write_utf8("k"); e.write_long(0); e.write_utf8("l"); e.write_long(1); e.write_utf8("v"); e.write_long(0)
        e.write_long(1); e.write_long(-9223372036854775808); e.write_long(1); e.write_long(5)

    def two(e):
        e.write_boolean(False); e.write_int(0); e.write_long(0); e.write_float(3.4028234663852886e38); e.write_long(0)
        e.write_bytes(b""); e.write_utf8(""); e.write_utf8(""); e.write_long(1); e.write_bytes(b"\x00")
        e.write_long(2145042905); e.write_long(86400000000); e.write_long(-210831897600000001); e.write_long(1)
        e.write_long(9223372036854775807); e.write_long(0); e.write_long(2); e.write_utf8("{{1}}"); e.write_long(0)
        e.write_long(0); e.write_long(0)

    def three(e):
        e.write_boolean(False); e.write_int(1); e.write_long(0); e.write_float(1e-45); e.write_long(1); e.write_double(5e-324)
        e.write_bytes(b"ab"); e.write_utf8("x"); e.write_utf8(""); e.write_long(0)
        e.write_long(-735160); e.write_long(0); e.write_long(0); e.write_long(0); e.write_long(-1)
        e.write_long(1); e.write_long(0); e.write_long(0); e.write_long(0); e.write_long(0)

    write_file(schema, [one, two, three])
    PYTHON

my ($true, $false) = (JSON::PP::true, JSON::PP::false);
my @rows = ({
    boolean => $true, int => '-2147483648', long => '9223372036854775807', float => '0.1', double => '-0',
    bytes => '00ff', string => 'a"\\ € {1:2}', uuid => 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
    decimal => '-1234567890123456789.00000000000000000001', date => '2023-05-01', time => '12:34:56.789',
    timestamp => '2023-05-01T12:34:56.789', timestamptz => '1969-12-31T23:59:59.999999Z',
    millis => '2023-05-01T12:34:56.789Z', array => ['-7', undef], map => { k => undef, l => 'v' },
    inner => { x => '-9223372036854775808' }, again => { x => '5' },
}, {
    boolean => $false, int => '0', long => undef, float => '3.4028235e+38', double => undef, bytes => '', string => '',
    uuid => '', decimal => '0.00000000000000000000', date => '+5874897-12-31', time => '24:00:00',
    timestamp => '-4712-12-31T23:59:59.999999', timestamptz => '+294247-01-10T04:00:54.775807Z',
    millis => '1970-01-01T00:00:00Z', array => '{{1}}', map => {}, inner => undef, again => undef,
}, {
    boolean => $false, int => '1', long => undef, float => '1e-45', double => '5e-324', bytes => '6162', string => 'x',
    uuid => '', decimal => undef, date => '-0043-03-15', time => '00:00:00', timestamp => '1970-01-01T00:00:00',
    timestamptz => undef, millis => '1969-12-31T23:59:59.999Z', array => [], map => {}, inner => undef, again => undef,
});

for my $codec (qw(null deflate snappy zstandard)) {
    my $path = make('types', $codec, $types);
    is_deeply([read_python($path)], \@rows, "$codec: the values as they were written");
    is(schema($path)->{fields}[1]{name}, 'int', "$codec: the schema");
    is(blocks($path)->{codec}, $codec, "$codec: the codec");
    next if $codec eq 'zstandard';
    same($path, $codec);
    my ($first) = read_avrocat($path);
    is_deeply({ %$first, double => '-0', bytes => '00ff', decimal => $rows[0]{decimal} }, $rows[0], "$codec: the values, by avrocat");
}

# A file that is libavro's own.
for my $codec (qw(null deflate snappy)) {
    my $path = "$dir/libavro-$codec.avro";
    my $r = CdcTest::Process->capture(argv => ['avromod', '--codec', $codec, "$dir/types-null.avro", $path]);
    is($r->{exit}, 0, "libavro writes it: $codec") or diag $r->{err};
    # it leaves out logical types, which it does not know
    my @names = qw(boolean int long float double bytes string uuid array map inner again);
    my @parts = map { my %part; @part{@names} = @$_{@names}; \%part } read_python($path);
    is_deeply(\@parts, [map { my %part; @part{@names} = @$_{@names}; \%part } @rows], 'with the same values');
    is(blocks($path)->{codec}, $codec, 'by that codec');
    same($path, "libavro's $codec");
}

# ---- numbers and days at random ----

my $random = make('random', 'deflate', <<~'PYTHON');
    import struct
    schema = """{"type": "record", "name": "row", "fields": [{"name": "f", "type": "float"}, {"name": "d", "type": "double"},
      {"name": "n", "type": "long"}, {"name": "day", "type": {"type": "int", "logicalType": "date"}},
      {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}}]}"""
    chance = random.Random(20230501)

    def finite(form, size):
        while True:
            value, = struct.unpack(form, chance.randbytes(size))
            if value - value == 0:
                return value

    def datum(i):
        f, d = finite("<f", 4), finite("<d", 8)
        n = chance.getrandbits(64) - 2**63 >> chance.randrange(64)
        day = chance.randrange(-2500000, 4000000) if i % 2 else i * 61 - 60000
        def write(e):
            e.write_float(f); e.write_double(d); e.write_long(n); e.write_int(day); e.write_long(n)
        return write

    write_file(schema, [datum(i) for i in range(2000)])
    PYTHON
same($random, '2000 random records');
is(scalar(read_python($random)), 2000, 'so many');

# ---- unions of records ----

my $union = <<~'PYTHON';
    def envelope(name, namespace, fields):
        return """{"type": "record", "name": "%s", "namespace": "%s", "fields": [
          {"name": "before", "type": ["null", {"type": "record", "name": "Value", "fields": [%s]}]},
          {"name": "after", "type": ["null", "Value"]}, {"name": "op", "type": "string"}]}""" % (name, namespace, fields)

    def one(e):
        e.write_long(0); e.write_long(0); e.write_long(1); e.write_long(7); e.write_utf8("c")

    def two(e):
        e.write_long(1); e.write_long(1); e.write_utf8("x"); e.write_long(0); e.write_utf8("d")

    write_file("[%s, %s]" % (envelope(names[0], "s.a", '{"name": "id", "type": "long"}'),
                             envelope(names[1], "s.b", '{"name": "name", "type": "string"}')), [one, two, one])
    PYTHON
my @envelopes = (
    { before => undef, after => { id => '7' }, op => 'c' }, { before => { name => 'x' }, after => undef, op => 'd' },
    { before => undef, after => { id => '7' }, op => 'c' },
);

sub typed (@types) {
    return [map { { %{ $envelopes[$_] }, _type => $types[$_] } } 0 .. 2];
}

my $named = make('named', 'null', "names = ('A', 'B')\n$union");
is_deeply([read_python($named)], typed(qw(s.a.A s.b.B s.a.A)), 'records in a union have their names');
is_deeply([read_avrocat($named)], typed(qw(s.a.A s.b.B s.a.A)), 'by avrocat, too');

my $equal = make('equal', 'null', "names = ('Envelope', 'Envelope')\n$union");
is_deeply([read_python($equal)], typed(qw(s.a.Envelope s.b.Envelope s.a.Envelope)), 'those of one name in two namespaces as well');
is_deeply([read_avrocat($equal)], typed(('Envelope') x 3), 'which avrocat does not tell apart');

# ---- blocks ----

my $many = make('many', 'deflate', <<~'PYTHON');
    write_file('"long"', [(lambda e, i=i: e.write_long(i * i)) for i in range(25)], every=10)
    PYTHON
my $bytes = slurp($many);
my $file = blocks($many);
my @blocks = @{ $file->{blocks} };
is_deeply([map { $_->{count} } @blocks], [10, 10, 5], 'records of each block');
is($file->{torn}, undef, 'nothing is torn');
is($blocks[0]{offset}, $file->{head}, 'the first lies behind the head');
is($blocks[$_]{offset}, $blocks[$_ - 1]{end}, "block $_ behind the one before") for 1, 2;
is($blocks[2]{end}, length $bytes, 'the last ends with the file');
is(substr($bytes, $_->{end} - 16, 16), $file->{sync}, 'with the sync marker') for @blocks;
is(schema($many), 'long', 'a schema that is a word');
is_deeply([read_python($many)], [map { $_ * $_ } 0 .. 24], 'numbers for records');
same($many, 'numbers');

{
    my $cut = "$dir/cut.avro";
    my @wrong;
    for my $length ($blocks[2]{offset} + 1 .. length($bytes) - 1) {
        spew($cut, substr $bytes, 0, $length);
        my $torn = blocks($cut);
        push @wrong, $length unless @{ $torn->{blocks} } == 2 && ($torn->{torn} // -1) == $blocks[2]{offset};
    }
    is("@wrong", '', 'cut anywhere in the last block: two blocks, and where the third is torn');
    spew($cut, substr $bytes, 0, length($bytes) - 20);
    throws(sub { read_python($cut) }, qr/cut\.avro/, 'python3-avro complains of a torn file');
    throws(sub { read_avrocat($cut) }, qr/cut\.avro is torn/, 'by avrocat it is not read, either');
    spew($cut, substr $bytes, 0, $blocks[2]{offset});
    is_deeply([read_python($cut)], [map { $_ * $_ } 0 .. 19], 'not of one that ends at a block');
    is(blocks($cut)->{torn}, undef, 'which is not torn');
    spew($cut, substr($bytes, 0, $blocks[2]{end} - 1) . "\0");
    is(blocks($cut)->{torn}, $blocks[2]{offset}, 'another sync marker is torn, too');
    for my $length (0, 3, 4, 20, $file->{head} - 1) {
        spew($cut, substr $bytes, 0, $length);
        throws(sub { blocks($cut) }, qr/no whole head/, "a head of $length bytes");
    }
}

done_testing;
