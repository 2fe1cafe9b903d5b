# CdcTest::Formats - what other programs read in cdcdump's CSV and Avro, and in its values.
#
#   my @records = avro($path);             # through Python's avro; dies when that does
#   my @records = avro_bytes($bytes);      # torn => 1: without the torn last block that a kill leaves
#   my @native = avro($path, as => 'native');   # values as that library's users get them, as text
#   my @records = avrocat($path);          # through libavro, which has no zstandard
#   my @same = avro($path, as => 'avrocat');    # what it has to give; see below
#
#   my $c = container($path);              # by hand: {schema (data), codec, sync, head (its length),
#                                          #  blocks => [{at, count, size, end}, ...]}
#
#   my @rows = csv($bytes);                # [[cell, ...], ...], NULL as undef; dies on bad quoting
#   my @records = csv_records($bytes);     # of the debezium envelope, as of NDJSON
#
# Records of Avro come as those of NDJSON do (CdcTest/Records.pm), apart from the values in rows:
#   integers, dates and times        numbers: what the file has (days, microseconds)
#   decimals                         text with all digits of the scale
#   float, double                    "float:" and the 16 hexadecimal digits of the double
#   bytes                            "\x" and hexadecimal digits, as bytea's text
#   arrays, maps                     arrays and hashes
# avrocat's JSON has no NaN and no infinity (it gives up), of bytes what is before a NUL, decimals as
# bytes, and the zero without a sign.
#
# Names of columns are those of PostgreSQL (property pg.name).  Columns that were not sent are left
# out of old rows; new ones have Debezium's placeholder there, so that an Oracle takes the records.
#
# What the server says that a reader has to find:
#   my $sql = avro_row($pg, 'shop', 't');              # SQL of a row as json; the table is called t
#   my $sql = avro_expression('timestamptz', 't.v');   # of a value of that type; "_int4" of arrays
#   canonical(plain_text($data))                       # for comparing: all scalars are text
package CdcTest::Formats;
use v5.36;
use utf8;

use Exporter qw(import);
use File::Temp ();
use JSON::PP ();

use CdcTest::Process;
use CdcTest::Records qw(record);

our @EXPORT = qw(avro avro_bytes avrocat container csv csv_records has_avro has_avrocat avro_expression
    avro_row plain_text decimal_text);

# ---- Avro through Python ----

my $reader = <<'PYTHON';
import json, struct, sys
from decimal import Decimal
import avro.schema
from avro.datafile import DataFileReader
from avro.io import DatumReader

way = sys.argv[2]

def bare(node):
    """The schema without logical types that the library's own types cannot hold all values of."""
    if isinstance(node, list):
        return [bare(n) for n in node]
    if isinstance(node, dict):
        return {k: bare(v) for k, v in node.items()
                if k != "logicalType" or node[k] == "decimal" and way == "exact"}
    return node

def plain(v):
    if isinstance(v, dict):
        return {k: plain(x) for k, x in v.items()}
    if isinstance(v, list):
        return [plain(x) for x in v]
    if isinstance(v, bool) or v is None or isinstance(v, (int, str)):
        return v
    if way == "avrocat" and isinstance(v, bytes):
        v = v.split(b"\0")[0]
    if way == "avrocat" and isinstance(v, float):
        v += 0.0
    if isinstance(v, float):
        return "float:" + struct.pack(">d", v).hex()
    if isinstance(v, bytes):
        return "\\x" + v.hex()
    if isinstance(v, Decimal):
        return format(v, "f")
    return str(v)

with open(sys.argv[1], "rb") as f:
    reader = DataFileReader(f, DatumReader())
    if way != "native":
        text = json.dumps(bare(json.loads(reader.schema)))
        reader.datum_reader.writers_schema = avro.schema.parse(text)
    for r in reader:
        print(json.dumps(plain(r)))
PYTHON

# The interpreter that has the library, or undef.
sub has_avro () {
    state $python = _find_python();
    return $python || undef;
}

sub _find_python () {
    for my $python (grep { -x } '/usr/bin/python3', CdcTest::Process::find_program('python3') // ()) {
        my $r = CdcTest::Process->capture(argv => [$python, '-c', 'import avro.datafile, snappy, zstandard']);
        return $python if ($r->{exit} // 1) == 0;
    }
    return '';
}

sub has_avrocat () { return CdcTest::Process::find_program('avrocat') }

sub avro ($path, %opts) {
    my $python = has_avro() // die "no Python with avro, snappy and zstandard\n";
    my $r = CdcTest::Process->capture(
        argv => [$python, '-c', $reader, $path, $opts{as} // 'exact'], timeout => 120);
    die "Python's avro cannot read $path: " . substr($r->{err}, -1500) . "\n" if ($r->{exit} // 1) != 0;
    return _finish(container($path)->{schema}, map { record($_) } split /\n/, $r->{out});
}

sub avro_bytes ($bytes, %opts) {
    my $file = File::Temp->new;
    print $file $bytes;
    close $file;
    if (delete $opts{torn}) {
        my $c = container($file->filename, torn => 1) // return;
        truncate $file->filename, @{ $c->{blocks} } ? $c->{blocks}[-1]{end} : $c->{head} or die "truncate: $!\n";
    }
    return avro($file->filename, %opts);
}

# ---- Avro through libavro ----

# Its JSON has unions as {"branch": value} and bytes as characters up to 255.
sub avrocat ($path) {
    my $r = CdcTest::Process->capture(argv => [has_avrocat() // die("no avrocat\n"), $path], timeout => 120);
    die "avrocat cannot read $path: $r->{err}\n" if ($r->{exit} // 1) != 0 || length $r->{err};
    my $schema = container($path)->{schema};
    my %names;
    _collect($schema, \%names);
    my $json = JSON::PP->new->utf8->allow_nonref->allow_bignum;
    return _finish($schema, map { _resolve($schema, $json->decode($_), \%names) } split /\n/, $r->{out});
}

sub _collect ($schema, $names, $namespace = '') {
    if (ref $schema eq 'ARRAY') { _collect($_, $names, $namespace) for @$schema; return }
    return unless ref $schema eq 'HASH';
    if ($schema->{type} eq 'record') {
        $namespace = $schema->{namespace} // $namespace;
        $names->{"$namespace.$schema->{name}"} = $schema;
        $schema->{full} = "$namespace.$schema->{name}";
        for (@{ $schema->{fields} }) {
            $_->{space} = $namespace;
            _collect($_->{type}, $names, $namespace);
        }
    }
}

sub _resolve ($schema, $value, $names, $space = '') {
    if (ref $schema eq 'ARRAY') {
        return undef unless defined $value;
        my ($branch, $inner) = %$value;
        for my $s (@$schema) {
            my $name = ref $s ? $s->{type} eq 'record' ? $s->{full} : $s->{type} : $s;
            # libavro leaves the namespace out here, so that several may be meant: then the first that fits
            next unless $name eq $branch || "$space.$name" eq $branch || $name =~ /\.\Q$branch\E\z/;
            my $resolved = eval { [_resolve($s, $inner, $names, $space)] };
            return $resolved->[0] if $resolved;
            die $@ unless $@ =~ /fields that are not those/;
        }
        die "a branch \"$branch\" that the union does not have, or fields that are not those of it\n";
    }
    if (!ref $schema) {
        my $named = $names->{"$space.$schema"} // $names->{$schema};
        return _resolve($named, $value, $names, $space) if $named;
        return _leaf($schema, $value);
    }
    my $type = $schema->{type};
    if ($type eq 'record') {
        my $of_table = !exists $schema->{'pg.table'} || _table($value) eq "$schema->{'pg.schema'}.$schema->{'pg.table'}";
        die "fields that are not those of $schema->{full}\n"
            unless $of_table && join(' ', sort keys %$value) eq join ' ', sort map { $_->{name} } @{ $schema->{fields} };
        return { map { $_->{name} => _resolve($_->{type}, $value->{ $_->{name} }, $names, $_->{space}) } @{ $schema->{fields} } };
    }
    return [map { _resolve($schema->{items}, $_, $names, $space) } @$value] if $type eq 'array';
    return { map { $_ => _resolve($schema->{values}, $value->{$_}, $names, $space) } keys %$value } if $type eq 'map';
    return _leaf($type, $value);
}

sub _table ($r) {
    my $s = $r->{source} // $r;
    return ($s->{schema} // $s->{schema_name}) . '.' . ($s->{table} // $s->{table_name});
}

sub _leaf ($type, $value) {
    return 'float:' . unpack 'H*', pack 'd>', $value if $type eq 'float' || $type eq 'double';
    return '\\x' . unpack 'H*', $value if $type eq 'bytes';
    return ref $value eq 'Math::BigInt' ? "$value" : $value;
}

# Two's complement, the highest byte first, as text with that many digits behind the point.
sub decimal_text ($bytes, $scale) {
    require Math::BigInt;
    my $n = Math::BigInt->from_hex('0x' . unpack 'H*', $bytes);
    $n->bsub(Math::BigInt->new(2)->bpow(8 * length $bytes)) if length $bytes && ord($bytes) >= 0x80;
    my $sign = $n->is_neg ? '-' : '';
    my $digits = $n->copy->babs->bstr;
    return "$sign$digits" unless $scale;
    $digits = '0' x ($scale + 1 - length $digits) . $digits if length $digits <= $scale;
    return $sign . substr($digits, 0, -$scale) . '.' . substr($digits, -$scale);
}

# ---- names and unsent values ----

sub _finish ($schema, @records) {
    my (%names, %originals);
    _collect($schema, \%names);
    for my $envelope (grep { exists $_->{'pg.table'} } values %names) {
        my $of_table = $originals{"$envelope->{'pg.schema'}.$envelope->{'pg.table'}"} //= {};
        $of_table->{ $_->{name} } = $_->{'pg.name'} for map { @{ $names{"$envelope->{namespace}.$_"}{fields} // [] } } qw(Value Key);
    }
    for my $r (@records) {
        my $table = _table($r);
        my $of_table = $originals{$table} // die "a record of $table, which the schema does not have\n";
        for my $part (grep { ref $r->{$_} eq 'HASH' } qw(before after row old key)) {
            $r->{$part} = { map { ($of_table->{$_} // die "a field $_ without its name\n") => $r->{$part}{$_} } keys %{ $r->{$part} } };
        }
        _apply_unsent($r);
    }
    return @records;
}

sub _apply_unsent ($r) {
    for my $part (qw(before after row old)) {
        my $unsent = delete $r->{"${part}_unsent"} or next;
        for my $name (@$unsent) {
            die "\"$name\" is not sent, and has a value\n" if defined $r->{$part}{$name};
            if   ($part =~ /before|old/ || ($r->{row_kind} // '') =~ /-/) { delete $r->{$part}{$name} }
            else                         { $r->{$part}{$name} = '__debezium_unavailable_value' }
        }
    }
}

# ---- container files by hand ----

# torn => 1: what a killed run wrote; blocks are those that are whole, and a head that is not gives undef.
sub container ($path, %opts) {
    open my $fh, '<:raw', $path or die "$path: $!\n";
    my $bytes = do { local $/; readline $fh } // '';
    my $c = eval { _container($path, $bytes, \%opts) };
    die $@ unless $c || $opts{torn} && $@ =~ /the file ends/;
    return $c;
}

sub _container ($path, $bytes, $opts) {
    die "the file ends in its head\n" if length $bytes < 4;
    die "$path does not begin with the magic\n" unless $bytes =~ /\AObj\x01/;
    my $at = 4;
    my %meta;
    while (my $count = _long(\$bytes, \$at)) {
        if ($count < 0) { $count = -$count; _long(\$bytes, \$at) }
        for (1 .. $count) {
            my $name = _bytes(\$bytes, \$at);
            $meta{$name} = _bytes(\$bytes, \$at);
        }
    }
    my %c = (schema => JSON::PP->new->utf8->allow_nonref->decode($meta{'avro.schema'}), codec => $meta{'avro.codec'} // 'null',
        sync => substr($bytes, $at, 16), head => $at + 16, blocks => []);
    $at += 16;
    die "the file ends in its head\n" if $at > length $bytes;
    while ($at < length $bytes) {
        my $begin = $at;
        my ($count, $size) = eval { (_long(\$bytes, \$at), _long(\$bytes, \$at)) };
        last if $opts->{torn} && (!defined $size || $at + $size + 16 > length $bytes);
        die $@ unless defined $size;
        $at += $size;
        die "$path: no sync marker at $at\n" unless substr($bytes, $at, 16) eq $c{sync};
        $at += 16;
        push @{ $c{blocks} }, { at => $begin, count => $count, size => $size, end => $at };
    }
    return \%c;
}

sub _long ($bytes, $at) {
    my ($n, $shift) = (0, 0);
    while (1) {
        die "the file ends in a number\n" if $$at >= length $$bytes;
        my $byte = ord substr $$bytes, $$at++, 1;
        $n |= ($byte & 0x7f) << $shift;
        last if $byte < 0x80;
        $shift += 7;
    }
    return ($n >> 1) ^ -($n & 1);
}

sub _bytes ($bytes, $at) {
    my $len = _long($bytes, $at);
    $$at += $len;
    die "the file ends in its head\n" if $$at > length $$bytes;
    return substr $$bytes, $$at - $len, $len;
}

# ---- CSV ----

sub csv ($bytes) {
    my (@rows, @cells);
    pos($bytes) = 0;
    while (pos $bytes < length $bytes) {
        if    ($bytes =~ /\G"((?:[^"]|"")*)"/gc)  { push @cells, $1 =~ s/""/"/gr }
        elsif ($bytes =~ /\G([^",\n\r]+)/gc)      { push @cells, $1 }
        else                                      { push @cells, undef }
        next if $bytes =~ /\G,/gc;
        $bytes =~ /\G\n/gc or die 'no CSV from here: ' . substr($bytes, pos $bytes, 200) . "\n";
        push @rows, [@cells];
        @cells = ();
    }
    die "the last line is not whole\n" if @cells;
    return @rows;
}

sub csv_records ($bytes) {
    my ($header, @rows) = csv($bytes);
    return map {
        my %c;
        @c{@$header} = @$_;
        { op => $c{op}, before => defined $c{before} ? record($c{before}) : undef, after => defined $c{after} ? record($c{after}) : undef,
          key => defined $c{key} ? record($c{key}) : undef,
          source => { schema => $c{schema}, table => $c{table}, commit_lsn => $c{commit_lsn}, tx_seq => $c{tx_seq}, txId => $c{xid},
                      snapshot => $c{op} eq 'r' ? 'true' : 'false' } };
    } @rows;
}

# ---- what the server says ----

my %text_of = (
    bool => 'to_json(%s)',
    (map { $_ => 'to_json(%s)' } qw(int2 int4 int8)),
    oid => 'to_json(%s::int8)',
    (map { $_ => q(to_json('float:' || encode(float8send(%s::float8), 'hex'))) } qw(float4 float8)),
    date => q(to_json(%s - date '1970-01-01')),
    time => 'to_json((extract(epoch FROM %s)::numeric * 1000000)::bigint)',
    (map { $_ => q(to_json(extract(epoch FROM date_trunc('second', %1$s))::bigint * 1000000 + extract(microseconds FROM %1$s)::bigint %% 1000000)) }
        qw(timestamp timestamptz)),
    bytea => q(to_json('\x' || encode(%s, 'hex'))),
    hstore => 'hstore_to_json(%s)',
);

# The value of that type (pg_type's name, "_int4" of arrays) as Avro's readers have to find it.
sub avro_expression ($type, $value) {
    if ($type =~ /\A_(.*)/) {
        my $element = avro_expression($1, 'x.e');
        return "CASE WHEN $value IS NULL THEN NULL WHEN array_ndims($value) > 1 THEN to_json(format('%s', $value))"
            . " ELSE coalesce((SELECT json_agg($element ORDER BY x.n) FROM unnest($value) WITH ORDINALITY x(e, n)), '[]') END";
    }
    # a cast to text is not always the type's own text
    return sprintf $text_of{$type} // q(CASE WHEN %1$s IS DISTINCT FROM NULL THEN to_json(format('%%s', %1$s)) END), $value;
}

# All columns of a table, as json.
sub avro_row ($pg, $db, $table) {
    my $columns = $pg->query($db, "SELECT attname, (SELECT typname FROM pg_type b WHERE b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END)
        FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
        WHERE attrelid = '$table'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum");
    my @pairs = map { my ($name, $type) = @$_;
        "SELECT '" . ($name =~ s/'/''/gr) . "' AS k, " . avro_expression($type, 't."' . ($name =~ s/"/""/gr) . '"') . ' AS v' } @$columns;
    # more columns than a function has arguments
    return '(SELECT json_object_agg(k, v) FROM (' . join(' UNION ALL ', @pairs) . ') pairs)';
}

# Data whose scalars are text, for comparisons of numbers with numbers in quotes.
sub plain_text ($data) {
    return [map { plain_text($_) } @$data] if ref $data eq 'ARRAY';
    return { map { $_ => plain_text($data->{$_}) } keys %$data } if ref $data eq 'HASH';
    return !defined $data ? undef : JSON::PP::is_bool($data) ? $data ? 'true' : 'false' : "$data";
}

1;
