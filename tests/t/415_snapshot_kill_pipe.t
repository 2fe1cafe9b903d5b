# kill -9 in every phase of a snapshot beside writers, its output a pipe: what was not accepted comes
# again, and a reader that keeps the last of each row, and leaves out events that it has seen, has the
# tables in the end.
#
# CDCTEST_SEED, CDCTEST_ROUNDS: as in 400_snapshot_oracle.t.
use v5.36;
use CdcTest;
use CdcTest::SnapshotKills;
use Time::HiRes qw(time);

my $first = $ENV{CDCTEST_SEED} // int(time * 1000) % 1_000_000;
note "seed $first";
END { diag("seed $first") if defined $first && !Test::More->builder->is_passing }

my @how = (server => PgServer->new, dir => scratch(), pipe => 1);
sub killed ($name, @more) { CdcTest::SnapshotKills::killed($name, @how, @more) }

# Rows without a key that come again cannot be told from others.
my @keyed = grep { $_ ne 'w_bag' } @CdcTest::Writers::TABLES;

for my $seed ($first .. $first + ($ENV{CDCTEST_ROUNDS} // 1) - 1) {
    note "---- seed $seed";
    killed('a new slot, piped', seed => $seed, args => ['-m' => 'initial', -j => 2]);
    killed('incremental, piped', seed => $seed, relaxed => 1, tables => \@keyed,
        args => ['-m' => 'initial', '--snapshot' => 'incremental', '--chunk-size' => 40, map { (-t => $_) } @keyed]);
}
done_testing;
