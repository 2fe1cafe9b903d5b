# Snapshots beside writers: each row comes once, each later change once, nothing is missing.
#
# CDCTEST_SEED=N makes the same choices again; the seed is printed.  CDCTEST_ROUNDS=N does it all N
# times, with the seeds that follow.  Chunks: 405_snapshot_chunks.t.
use v5.36;
use CdcTest;
use CdcTest::Snapshots;
use Time::HiRes qw(sleep time);

my $first = $ENV{CDCTEST_SEED} // int(time * 1000) % 1_000_000;
note "seed $first";
END { diag("seed $first") if defined $first && !Test::More->builder->is_passing }

my $pg = PgServer->new;
my @how = (server => $pg, dir => scratch());
sub beside ($name, @more) { CdcTest::Snapshots::beside($name, @how, @more) }
sub ends ($name, $mode, @more) { CdcTest::Snapshots::ends($name, $mode, @how, @more) }

for my $seed ($first .. $first + ($ENV{CDCTEST_ROUNDS} // 1) - 1) {
    note "---- seed $seed";
    my @seed = (seed => $seed);
    beside('a new slot', @seed, args => [], stop => 1);
    beside('a new slot, three connections', @seed, args => [-j => 3], all_kinds => 1);
    beside('joined', @seed, slot => 1, publication => 1, held => 1, args => [-j => 2], stop => 1);
    beside('joined, without a publication', @seed, slot => 1, held => 1, args => []);
    ends('mode snapshot', 'snapshot', @seed, args => [-j => 2]);
    ends('mode initial_only', 'initial_only', @seed, args => [-j => 2]);
}
done_testing;
