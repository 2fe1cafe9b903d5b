# Bench - what the parts of tests/bench share: how much is measured, and small arithmetic.
#
#   $Bench::ROWS $Bench::ROUNDS $Bench::SECONDS $Bench::LIMIT     see tests/bench
#   part(1/20)                    a part of $ROWS, 1 at least
#   progress($text)               where it is, to a person who looks
#   rounds($run, @readers)        {name => [what $run gave, ...]}, one for each round
#   median(@values), thousands($n)
package Bench;
use v5.36;

use Exporter qw(import);
use List::Util qw(max);

our @EXPORT_OK = qw(part progress rounds median thousands);

our $ROWS    = $ENV{CDCDUMP_BENCH_ROWS} || 500_000;
our $ROUNDS  = $ENV{CDCDUMP_BENCH_ROUNDS} || 5;
our $SECONDS = $ENV{CDCDUMP_BENCH_LATENCY_SECONDS} || 5;
our $RATE    = 1000;                    # transactions a second, where latency is measured
our $LIMIT   = 300 + $ROWS / 1000;      # seconds that no run may take

sub part ($of) { return max(1, int($ROWS * $of)) }

sub progress ($text) { printf STDERR "\r%-72s\r", $text if -t STDERR }

# There and back, so that none is always the one after another.
sub rounds ($run, @readers) {
    my %runs;
    for my $round (1 .. $ROUNDS) {
        for my $reader ($round % 2 ? @readers : reverse @readers) {
            progress("round $round of $ROUNDS: $reader->{name}");
            push @{ $runs{ $reader->{name} } }, $run->($reader);
        }
    }
    return \%runs;
}

sub median (@values) {
    my @sorted = sort { $a <=> $b } @values;
    return ($sorted[$#sorted / 2] + $sorted[@sorted / 2]) / 2;
}

sub thousands ($n) {
    my $text = sprintf '%.0f', $n;
    1 while $text =~ s/\A(-?[0-9]+)([0-9]{3})/$1,$2/;
    return $text;
}

1;
