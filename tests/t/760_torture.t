# A short run of the torture harness: random transactions and random faults for about 100 seconds, by all the
# kinds of output.  tests/torture/torture runs longer ones.
#
# CDCTEST_SEED=N makes the same random choices again; the seed is printed.
use v5.36;
use CdcTest;
use List::Util qw(min sum0);
use Time::HiRes qw(time);

my $seed = $ENV{CDCTEST_SEED} // (time * 1000) % 1_000_000;
my $seconds = $ENV{CDCTEST_TORTURE_SECONDS} // 90;
note "seed $seed";
my $dir = scratch();

my $run = CdcTest::Process->spawn(
    argv => [$^X, "$Cdc::TOP/tests/torture/torture", "--seconds=$seconds", "--seed=$seed", "--report=$dir/report.json", '-v'],
    stdin => 'null', stdout => ">$dir/said", stderr => ">>$dir/said", death => 'TERM', env => { CDCDUMP => $Cdc::BINARY });
# A round that has begun comes to its end.
if (!$run->wait_exit($seconds + 400)) {
    $run->kill('TERM');
    $run->wait_exit(60);
}
is($run->exit, 0, "seed $seed: all held") or diag(substr slurp("$dir/said"), -8000);
note slurp("$dir/said");
BAIL_OUT('no report') unless -s "$dir/report.json";

my $f = JSON::PP->new->decode(slurp("$dir/report.json"));
is($f->{failure}, undef, 'no failure');
my $lanes = $f->{lanes};
cmp_ok(scalar keys %$lanes, '>=', 5, 'captures side by side');
# At least, on a machine that has little time for it; usually it is one every two seconds.
cmp_ok($f->{faults}, '>=', 10, 'faults have happened') and note(join ', ', map { "$_: $f->{fired}{$_}" } sort keys %{ $f->{fired} });
cmp_ok(scalar keys %{ $f->{fired} }, '>=', 5, 'of many kinds');
cmp_ok($f->{faults}, '>=', 3 * sum0(values %{ $f->{skipped} }), 'few found their capture unfit');
my ($least) = sort { $a <=> $b } map { $_->{transactions} } values %$lanes;
cmp_ok($least, '>', 100, 'each has given many transactions') and note($least);
cmp_ok(min(map { $_->{events} } values %$lanes), '>', 1000, 'and events');
cmp_ok(sum0(map { $_->{starts} } values %$lanes), '>', keys %$lanes, 'some have been started again');
is(join(' ', map { $lanes->{$_}{repeated} } grep { !$lanes->{$_}{repeats} } sort keys %$lanes),
    join(' ', map { 0 } grep { !$lanes->{$_}{repeats} } keys %$lanes), 'nothing came twice into files');
cmp_ok(scalar(grep { $_->{rss}{max} } values %$lanes), '>=', 5, 'memory was looked at');

done_testing;
