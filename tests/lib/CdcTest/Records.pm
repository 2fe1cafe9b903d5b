# CdcTest::Records - lines of NDJSON as Perl data.
#
#   my @records = records($bytes);               # dies on a line that is not JSON, on an empty
#                                                # line and on a last line without newline
#   my @records = records($bytes, torn => 1);    # without the torn last line that a kill leaves
#
# Strings come out as characters, true and false as JSON::PP's booleans (1 and 0 in tests), null
# as undef.  Integers keep all their digits, however many; other numbers are Perl's doubles.  To
# tell 1 from "1", match the line.
package CdcTest::Records;
use v5.36;

use Exporter qw(import);
use JSON::PP ();

our @EXPORT_OK = qw(records canonical);

sub records ($bytes, %opts) {
    state $json = JSON::PP->new->utf8->allow_nonref;
    if ($bytes !~ /\n\z/ && $bytes ne '') {
        die 'the last line has no newline: ' . substr($bytes, -200) . "\n" unless $opts{torn};
        $bytes =~ s/[^\n]*\z//;
    }
    my ($number, @records) = (0);
    my $count = 1 + ($bytes =~ tr{\n}{});
    for my $line (split /\n/, $bytes, -1) {
        $number++;
        last if $number == $count;
        my $record = eval { $json->decode($line) };
        die "line $number is not JSON: $@" . substr($line, 0, 400) . "\n" if $@;
        push @records, $record;
    }
    return @records;
}

# One text for equal data, for comparisons and as hash keys.
sub canonical ($data) {
    state $json = JSON::PP->new->canonical->allow_nonref->allow_blessed;
    return $json->encode($data);
}

1;
