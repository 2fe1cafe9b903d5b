# Bench::Report - one table, in Markdown, that grows line by line, and what has to be said below it.
#
#   my $report = Bench::Report->new;                  # prints the head
#   $report->section($found, \%targets, @readers);    # lines of what ::Backlog or ::Table found
#   $report->heading($title, $detail);
#   $report->figure($what, $where, $unit, $target, @values);    # one line, such as a latency
#   $report->below($load);
#
# Targets of a section are {user, system, rss}, upper bounds in the units of the table; a reader has
# those of its ratios in beside, as [[name of a peer, upper bound or undef], ...]; one that others
# are compared with may have itself there.  What has a target says "met" or "missed" behind it.
package Bench::Report;
use v5.36;
use utf8;

use List::Util qw(max min sum0);
use POSIX ();

use Bench qw(median thousands progress);
use Cdc;
use CdcTest qw(slurp);
use CdcTest::Process;
use PgServer;

# Title and width; all but the first two are figures.
my @COLUMNS = (['cdcdump' => 34], ['beside' => 38], ['seconds' => 7], ['its' => 7],
    ['figure' => 25], ['target' => 14], ['user µs' => 12], ['system µs' => 12], ['MiB' => 11],
    ['bytes' => 6], ['instr.' => 7]);
my %METHOD = (user => '%.2f', system => '%.2f', rss => '%.1f');

sub new ($class) {
    my $self = bless {}, $class;
    binmode STDOUT, ':encoding(UTF-8)';
    $self->line(map { $_->[0] } @COLUMNS);
    say '|', join('|', map { '-' x ($COLUMNS[$_][1] + 1) . ($_ < 2 ? '-' : ':') } 0 .. $#COLUMNS), '|';
    return $self;
}

sub line ($self, @cells) {
    progress('');
    say '| ', join(' | ', map {
        my $width = $COLUMNS[$_][1];
        sprintf $_ < 2 ? "%-${width}s" : "%${width}s", $cells[$_] // '';
    } 0 .. $#COLUMNS), ' |';
}

sub heading ($self, $title, $detail, %targets) {
    $self->line("**$title**", $detail, ('') x 4,
        map { defined $targets{$_} ? "<= $targets{$_}" : '' } qw(user system rss));
}

sub section ($self, $found, $targets, @readers) {
    $self->heading("$found->{title}, " . thousands($found->{changes}), $found->{detail},
        %$targets);
    for my $reader (@readers) {
        my $why = $found->{skipped}{ $reader->{name} };
        $self->line($reader->{name}, "skipped: $why") if defined $why;
        $self->reader($found, $targets, $reader) if !defined $why && @{ $reader->{beside} // [] };
    }
}

# What it costs stands beside the first of its peers.
sub reader ($self, $found, $targets, $reader) {
    my $name = $reader->{name};
    my $runs = $found->{runs}{$name};
    my @costs = map { cost($_, $targets->{$_}, $found->{changes}, $runs) } qw(user system rss);
    push @costs, map { defined $_ ? thousands($_) : '' } map { $found->{$_}{$name} }
        qw(bytes instructions);
    for (@{ $reader->{beside} }) {
        my ($peer, $target) = @$_;
        my $others = $found->{runs}{$peer} or die "$name has no peer \"$peer\"\n";
        if ($peer eq $name) {
            $self->line($name, '', seconds($runs), ('') x 3, splice @costs);
            next;
        }
        my @ratios = map { $runs->[$_]{wall} / $others->[$_]{wall} } 0 .. $#$runs;
        $self->line($name, $peer, seconds($runs), seconds($others), spread('%.3f', '', @ratios),
            verdict($target, '', @ratios), splice @costs);
    }
}

# CPU is that of one change; memory is the highest peak.
sub cost ($what, $target, $changes, $runs) {
    my @values = map { $_->{$what} } @$runs;
    my $value = $what eq 'rss' ? max(@values) : median(@values) * 1e6 / $changes;
    return join ' ', sprintf($METHOD{$what}, $value),
        defined $target ? judged($value, $target) : ();
}

sub seconds ($runs) { return sprintf '%.2f', median(map { $_->{wall} } @$runs) }

sub spread ($format, $unit, @values) {
    my ($middle, $least, $most) = map { sprintf $format, $_ }
        median(@values), min(@values), max(@values);
    return @values > 1 ? "$middle ($least - $most)$unit" : "$middle$unit";
}

sub judged ($value, $target) { return $value <= $target ? 'met' : 'missed' }

sub verdict ($target, $unit, @values) {
    return defined $target ? "<= $target$unit " . judged(median(@values), $target) : '';
}

sub figure ($self, $what, $where, $unit, $target, @values) {
    $self->line($what, $where, '', '', spread('%.2f', " $unit", @values),
        verdict($target, " $unit", @values));
}

# ---- below the table ----

sub below ($self, $load) {
    say <<~"TEXT";

        seconds, its: wall time of the two, medians of $Bench::ROUNDS; figure: where it has no unit,
        the ratio of the two within a round, median (least - most).  CPU, bytes and instructions
        (callgrind) are cdcdump's for one change or row, MiB its peak.
        TEXT
    say join "\n", machine(), versions(), command() . POSIX::strftime(', %Y-%m-%d', localtime)
        . "; load before: $load";
}

sub output_of (@argv) {
    my $r = eval { CdcTest::Process->capture(argv => \@argv) } // return '';
    return $r->{out} =~ s/\n.*//sr;
}

# How much the server sends at a time, and so what TCP costs it, is up to its congestion control.
sub machine () {
    my ($cpu) = slurp('/proc/cpuinfo') =~ /^model name\s*:\s*(.*)/m;
    my $cores = () = slurp('/proc/cpuinfo') =~ /^processor\s*:/mg;
    my ($system, undef, $release, undef, $arch) = POSIX::uname();
    my $tcp = eval { slurp('/proc/sys/net/ipv4/tcp_congestion_control') } // 'unknown';
    chomp $tcp;
    return "$cores cores of " . ($cpu // 'an unknown CPU')
        . ", $system $release $arch; TCP congestion control: $tcp";
}

sub versions () {
    my $package = 'postgresql-' . PgServer::version();
    my @plugins = map { output_of('dpkg-query', '-W', '-f', "$_ \${Version}", "$package-$_") }
        qw(wal2json decoderbufs);
    return join ', ', grep { $_ } output_of($Cdc::BINARY, '--version'),
        output_of(PgServer::bindir() . '/postgres', '--version'), @plugins;
}

sub command () {
    my @set = map { "$_=" . ($ENV{$_} =~ / / ? "'$ENV{$_}'" : $ENV{$_}) }
        grep { defined $ENV{$_} } map { "CDCDUMP_BENCH$_" } '', qw(_ROUNDS _ROWS _LATENCY_SECONDS);
    return join ' ', @set, 'make bench';
}

1;
