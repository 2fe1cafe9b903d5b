# CdcTest::Avro - Avro container files, read by others than cdcdump.
#
#   use CdcTest::Avro;
#   skip_all_without(!avro_lacks(), avro_lacks());       # python3-avro and avrocat are not everywhere
#
#   my @records = read_python($path);                    # by python3-avro; any codec
#   my @records = read_avrocat($path);                   # by libavro, which has no zstandard
#   is_deeply([read_avrocat($path)], [read_python($path, avrocat => 1)]);
#   my $schema = schema($path);                          # as JSON::PP has it
#   my $file = blocks($path);                            # by hand, of a torn file, too
#   print "$_->{offset} $_->{end} $_->{count} $_->{bytes}\n" for @{ $file->{blocks} };
#
# Values of both readers, in which nothing is lost; of a union, the value in it:
#   null, boolean        undef; 1 and 0 (JSON::PP's booleans)
#   int, long            text of the number
#   float, double        text, the shortest of %g that is the same number; NaN, Infinity, -Infinity
#   decimal              text with all digits of its scale
#   bytes                hexadecimal digits
#   dates and times      ISO 8601: 2023-05-01, 12:34:56.789, 2023-05-01T12:34:56.789 (…Z with a
#                        zone), +10000-01-01, -0043-03-15 (44 BC), 24:00:00
#   string, array, map, record
# Where the file's schema is a union, a record's full name is its `_type`.
#
# What avrocat cannot show: bytes behind one that is zero, so that decimals are their bytes in
# hexadecimal here, too; the sign of a zero (read_python() with avrocat => 1 gives the same of both);
# records with NaN or an infinity, at which read_avrocat() dies; which of two records of one name in
# two namespaces it is: `_type` is the bare name then, and the first whose fields fit is taken.
#
# blocks(): {codec, schema (text), sync (bytes), head (length in bytes), torn (offset of what is no
# whole block, or undef), blocks => [{offset, end, count, bytes (as compressed)}…]}.  Dies only when
# the head is not whole.
package CdcTest::Avro;
use v5.36;

use CdcTest::Process;
use Exporter qw(import);
use File::Basename qw(dirname);
use JSON::PP ();
use List::Util qw(sum0);
use POSIX ();

our @EXPORT = qw(avro_lacks read_python read_avrocat schema blocks);

my $json = JSON::PP->new->utf8->allow_nonref;

# ---- python3-avro ----

# Another Python may come first in PATH than the one that Debian's packages are for.
sub _python () {
    state $python = _find_python();
    return $python;
}

sub _find_python () {
    for my $python (grep { defined } $ENV{CDCTEST_PYTHON}, '/usr/bin/python3', 'python3') {
        my $r = eval { CdcTest::Process->capture(argv => [$python, '-c', 'import avro.datafile, snappy, zstandard']) };
        return $python if $r && defined $r->{exit} && $r->{exit} == 0;
    }
    return '';
}

# What is missing, or ''.
sub avro_lacks () {
    return 'no python3 with avro, snappy and zstandard' unless _python();
    return 'no avrocat' unless grep { -x "$_/avrocat" } split /:/, $ENV{PATH};
    return '';
}

sub _output (@argv) {
    my $r = CdcTest::Process->capture(argv => \@argv);
    die "$argv[0] failed on $argv[-1]: $r->{err}\n" unless defined $r->{exit} && $r->{exit} == 0;
    return $r->{out};
}

sub read_python ($path, %opts) {
    my $program = dirname(__FILE__) . '/../avro_read.py';
    return map { $json->decode($_) } split /\n/,
        _output(_python(), $program, $opts{avrocat} ? '--avrocat' : (), $path);
}

# ---- avrocat ----

sub read_avrocat ($path) {
    my $file = blocks($path);
    my $schema = $json->decode($file->{schema});
    my %names;
    _collect($schema, '', \%names);
    my @records = map { _top($schema, $_, \%names) } map { _decode_exactly($_) } split /\n/, _output('avrocat', $path);
    # avrocat itself says nothing of a torn file
    die "$path is torn\n" if defined $file->{torn};
    die "avrocat has read @{[scalar @records]} records of $path\n" unless @records == sum0(map { $_->{count} } @{ $file->{blocks} });
    return @records;
}

# Numbers become texts first, as Perl's would lose digits.
sub _decode_exactly ($line) {
    $line =~ s/("(?:[^"\\]|\\.)*+")|(-?[0-9][0-9.eE+-]*)/$1 \/\/ qq("$2")/ge;
    return $json->decode($line);
}

sub _full_name ($schema, $space) {
    my $name = $schema->{name};
    return $name if $name =~ /\./;
    $space = $schema->{namespace} // $space;
    return $space eq '' ? $name : "$space.$name";
}

# Every named type by its full name.  Named types know their own: `full`, `space`.
sub _collect ($schema, $space, $names) {
    if (ref $schema eq 'ARRAY') {
        _collect($_, $space, $names) for @$schema;
        return;
    }
    return unless ref $schema;
    my $type = $schema->{type};
    if (ref $type) {
        _collect($type, $space, $names);
    } elsif ($type eq 'record') {
        $schema->{full} = _full_name($schema, $space);
        $schema->{space} = $schema->{full} =~ /(.*)\./ ? $1 : '';
        $names->{ $schema->{full} } = $schema;
        _collect($_->{type}, $schema->{space}, $names) for @{ $schema->{fields} };
    } else {
        _collect($_, $space, $names) for grep { defined } @$schema{qw(items values)};
    }
}

# What a name or {"type": {...}} stands for.
sub _resolve ($schema, $space, $names) {
    return _resolve($schema->{type}, $space, $names) if ref $schema eq 'HASH' && ref $schema->{type};
    return $schema if ref $schema;
    return $names->{$schema} // ($space ne '' && $names->{"$space.$schema"}) || { type => $schema };
}

sub _top ($schema, $value, $names) {
    return _value($schema, $value, '', $names) unless ref $schema eq 'ARRAY' && ref $value;
    my ($name) = keys %$value;
    my @same = grep { _branch_name($_) eq $name } map { _resolve($_, '', $names) } @$schema;
    for my $branch (@same) {
        my $record = eval { _value($branch, $value->{$name}, '', $names) } // next;
        $record->{_type} = @same == 1 ? $branch->{full} : $name if $branch->{full};
        return $record;
    }
    die "no branch of the union fits $name\n";
}

sub _branch_name ($schema) {
    return $schema->{name} // $schema->{type};
}

sub _union ($schema, $value, $space, $names) {
    return undef unless defined $value;
    my ($name, @more) = keys %$value;
    die "not one branch of a union\n" if @more;
    my ($branch) = grep { _branch_name($_) eq $name } map { _resolve($_, $space, $names) } @$schema;
    die "no branch \"$name\"\n" unless $branch;
    return _value($branch, $value->{$name}, $space, $names);
}

sub _value ($schema, $value, $space, $names) {
    $schema = _resolve($schema, $space, $names);
    return _union($schema, $value, $space, $names) if ref $schema eq 'ARRAY';
    my $type = $schema->{type};
    return _record($schema, $value, $names) if $type eq 'record';
    return [map { _value($schema->{items}, $_, $space, $names) } @$value] if $type eq 'array';
    return { map { $_ => _value($schema->{values}, $value->{$_}, $space, $names) } keys %$value } if $type eq 'map';
    return _number($value, $type) if $type eq 'float' || $type eq 'double';
    return unpack('H*', $value) if $type eq 'bytes';
    return _logical($schema->{logicalType} // '', $value) if $type eq 'int' || $type eq 'long';
    return $value;
}

sub _record ($schema, $value, $names) {
    my @fields = @{ $schema->{fields} };
    die "other fields\n" unless "@{[sort keys %$value]}" eq "@{[sort map { $_->{name} } @fields]}";
    return { map { $_->{name} => _value($_->{type}, $value->{ $_->{name} }, $schema->{space}, $names) } @fields };
}

# To pack() all above the highest float is infinite, also what would be rounded down to it.
sub _float_bits ($n) {
    my $max = unpack 'f<', "\xff\xff\x7f\x7f";
    my $ulp = 2**104;
    return pack 'f<', abs($n) > $max && abs($n) < $max + $ulp / 2 ? ($n < 0 ? -$max : $max) : $n;
}

# avrocat prints a float as the double that it is.
sub _number ($text, $type) {
    my $number = POSIX::strtod($text) || 0;
    my $bits = $type eq 'float' ? \&_float_bits : sub ($n) { pack 'd<', $n };
    my $digits = $type eq 'float' ? 9 : 17;
    for my $precision (1 .. $digits) {
        my $short = sprintf '%.*g', $precision, $number;
        return $short if $bits->(scalar POSIX::strtod($short)) eq $bits->($number);
    }
    die "not a number: $text\n";
}

# ---- dates and times ----

sub _floor_div ($n, $by) {
    use integer;
    my $q = $n / $by;
    return $n % $by < 0 ? $q - 1 : $q;
}

sub _logical ($logical, $n) {
    return _date($n) if $logical eq 'date';
    return _clock($n) if $logical eq 'time-micros';
    return _moment($n) if $logical eq 'local-timestamp-micros';
    return _moment($n) . 'Z' if $logical eq 'timestamp-micros';
    return _moment($n * 1000) . 'Z' if $logical eq 'timestamp-millis';
    return $n;
}

sub _moment ($usec) {
    my $days = _floor_div($usec, 86_400_000_000);
    return _date($days) . 'T' . _clock($usec - $days * 86_400_000_000);
}

sub _clock ($usec) {
    my $seconds = _floor_div($usec, 1_000_000);
    my $text = sprintf '%02d:%02d:%02d', $seconds / 3600, $seconds / 60 % 60, $seconds % 60;
    $text .= sprintf('.%06d', $usec % 1_000_000) =~ s/\.?0+\z//r;
    return $text;
}

# Year by year from an estimate that is not too late.
sub _date ($days) {
    my $year = 1970 + _floor_div($days * 400, 146_097) - 1;
    $year++ while _days_before($year + 1) <= $days;
    my @lengths = (31, _is_leap($year) ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31);
    my ($month, $day) = (1, $days - _days_before($year));
    $day -= $lengths[$month++ - 1] while $day >= $lengths[$month - 1];
    my $sign = $year < 0 ? '-' : $year > 9999 ? '+' : '';
    return sprintf '%s%04d-%02d-%02d', $sign, abs $year, $month, $day + 1;
}

sub _is_leap ($year) { return $year % 4 == 0 && ($year % 100 != 0 || $year % 400 == 0) }

# From 1970-01-01 to the first of January.
sub _days_before ($year) {
    my $y = $year - 1;
    return 365 * ($year - 1970) + _floor_div($y, 4) - _floor_div($y, 100) + _floor_div($y, 400) - 477;
}

# ---- by hand ----

# The long at $$at, which moves behind it; undef at the end of the bytes.
sub _long ($bytes, $at) {
    my ($n, $shift) = (0, 0);
    while ($$at < length $$bytes && $shift < 70) {
        my $byte = ord substr $$bytes, $$at++, 1;
        $n |= ($byte & 0x7f) << $shift;
        $shift += 7;
        next if $byte & 0x80;
        return $n & 1 ? -($n >> 1) - 1 : $n >> 1;
    }
    return undef;
}

sub _take ($bytes, $at, $n) {
    return undef if !defined $n || $n < 0 || $n > length($$bytes) - $$at;
    $$at += $n;
    return substr $$bytes, $$at - $n, $n;
}

sub _sized ($bytes, $at) { return _take($bytes, $at, _long($bytes, $at)) }

sub _head ($bytes) {
    my ($at, %metadata) = 4;
    return undef unless substr($$bytes, 0, 4) eq "Obj\x01";
    while (my $count = _long($bytes, \$at) // return undef) {
        _long($bytes, \$at) if $count < 0;
        for (1 .. abs $count) {
            my $key = _sized($bytes, \$at) // return undef;
            $metadata{$key} = _sized($bytes, \$at) // return undef;
        }
    }
    my $sync = _take($bytes, \$at, 16) // return undef;
    return { codec => $metadata{'avro.codec'} // 'null', schema => $metadata{'avro.schema'}, sync => $sync, head => $at };
}

sub _block ($bytes, $at, $sync) {
    my $offset = $$at;
    my $count = _long($bytes, $at);
    my $size = _long($bytes, $at);
    return undef unless defined $size && $count > 0 && defined _take($bytes, $at, $size);
    return undef unless (_take($bytes, $at, 16) // '') eq $sync;
    return { offset => $offset, end => $$at, count => $count, bytes => $size };
}

sub blocks ($path) {
    open my $fh, '<:raw', $path or die "could not open \"$path\": $!\n";
    my $bytes = do { local $/; <$fh> } // '';
    my $file = _head(\$bytes) // die "$path has no whole head of a container file\n";
    my $at = $file->{head};
    $file->{blocks} = [];
    while ($at < length $bytes) {
        my $start = $at;
        my $block = _block(\$bytes, \$at, $file->{sync});
        if (!$block) {
            $file->{torn} = $start;
            last;
        }
        push @{ $file->{blocks} }, $block;
    }
    return $file;
}

sub schema ($path) { return $json->decode(blocks($path)->{schema}) }

1;
