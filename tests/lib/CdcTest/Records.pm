# CdcTest::Records - lines of NDJSON as Perl data.
#
#   my @records = records($bytes);               # dies on a line that is not JSON, on an empty
#                                                # line and on a last line without newline
#   my @records = records($bytes, torn => 1);    # without the torn last line that a kill leaves
#   my $record = record($line);                  # of one line; dies when it is not JSON
#   is(gist($r), 'r1..5 c6 u6', '...');          # operations and ids, of a run, records or bytes
#
# Strings come out as characters, true and false as JSON::PP's booleans (1 and 0 in tests), null
# as undef.  Integers keep all their digits, however many; other numbers are Perl's doubles.  To
# tell 1 from "1", match the line.
#
# The lines of cdcdump are read by a few regular expressions, many times as fast as JSON::PP does
# it.  They know no more than they must: whatever does not fit them is left to JSON::PP, which then
# has the right value or the right complaint.
package CdcTest::Records;
use v5.36;

use Encode ();
use Exporter qw(import);
use JSON::PP ();

our @EXPORT_OK = qw(record records canonical gist);

sub records ($bytes, %opts) {
    if ($bytes !~ /\n\z/ && $bytes ne '') {
        die 'the last line has no newline: ' . substr($bytes, -200) . "\n" unless $opts{torn};
        $bytes =~ s/[^\n]*\z//;
    }
    my ($number, @records) = (0);
    my $count = 1 + ($bytes =~ tr{\n}{});
    for my $line (split /\n/, $bytes, -1) {
        $number++;
        last if $number == $count;
        my $record = eval { record($line) };
        die "line $number is not JSON: $@" . substr($line, 0, 400) . "\n" if $@;
        push @records, $record;
    }
    return @records;
}

sub record ($line) {
    state $json = JSON::PP->new->utf8->allow_nonref;
    local $_ = $line;
    if (!/[^\x00-\x7f]/ || eval { $_ = Encode::decode('UTF-8', $line, Encode::FB_CROAK | Encode::LEAVE_SRC); 1 }) {
        pos = 0;
        my $value;
        return $value if eval { $value = _value(); 1 } && /\G\z/;
    }
    return $json->decode($line);
}

# The value at pos() of $_, which moves behind it; dies at what it does not know.
sub _value () {
    return _string() if /\G"/;
    # up to 19 digits are exact as a number of Perl's; no fractions
    return 0 + $1 if /\G(0|-?[1-9][0-9]{0,17}|[1-9][0-9]{18})(?=[,\]}]|\z)/gc;
    return undef if /\Gnull/gc;
    return $JSON::PP::true if /\Gtrue/gc;
    return $JSON::PP::false if /\Gfalse/gc;
    return _object() if /\G\{/gc;
    return _array() if /\G\[/gc;
    die "unknown\n";
}

# With no other escapes than of quote and backslash.
sub _string () {
    /\G"([^"\\\x00-\x1f]*+)/gc or die "unknown\n";
    my $text = $1;
    until (/\G"/gc) {
        /\G\\(["\\])([^"\\\x00-\x1f]*+)/gc or die "unknown\n";
        $text .= $1 . $2;
    }
    return $text;
}

sub _object () {
    my %object;
    return \%object if /\G\}/gc;
    while (1) {
        my $name = _string();
        /\G:/gc or die "unknown\n";
        $object{$name} = _value();
        next if /\G,/gc;
        /\G\}/gc or die "unknown\n";
        return \%object;
    }
}

sub _array () {
    my @array;
    return \@array if /\G\]/gc;
    while (1) {
        push @array, _value();
        next if /\G,/gc;
        /\G\]/gc or die "unknown\n";
        return \@array;
    }
}

# One text for equal data, for comparisons and as hash keys.
sub canonical ($data) {
    state $json = JSON::PP->new->canonical->allow_nonref->allow_blessed;
    return $json->encode($data);
}

# "r1..5 c6 u6": operations and ids in their order; rows of a snapshot are in none.
sub gist ($r) {
    my @runs;
    for my $record (ref $r eq 'ARRAY' ? @$r : ref $r ? $r->records : records($r)) {
        my $op = $record->{op} // next;
        my $row = $record->{after} // $record->{before} // $record->{row} // $record->{key};
        push @runs, [$op] unless @runs && $runs[-1][0] eq $op;
        push @{ $runs[-1] }, $row->{id};
    }
    my @words;
    for (@runs) {
        my ($op, @ids) = @$_;
        @ids = sort { $a <=> $b } @ids if $op eq 'r';
        my @ranges;
        for my $id (@ids) {
            if   (@ranges && $ranges[-1][1] + 1 == $id) { $ranges[-1][1]++ }
            else                                       { push @ranges, [$id, $id] }
        }
        push @words, map { $op . ($_->[0] == $_->[1] ? $_->[0] : "$_->[0]..$_->[1]") } @ranges;
    }
    return "@words";
}

1;
