# Outputs and state files that do not go as they should: calls that are interrupted or do a part only, which
# must not matter; syncs that fail, after which nothing may be taken for safe; disks that get full; and
# random faults one after the other over a larger workload.
#
# CDCTEST_SEED=N makes the same random choices again; the seed is printed.  CDCTEST_ALL_CALLS=1: more of them.
use v5.36;
use CdcTest;
use CdcTest::Faults;
use CdcTest::Files;
use CdcTest::Workload;
use List::Util qw(sum0);
use Time::HiRes qw(time);

my $seed = $ENV{CDCTEST_SEED} // (time * 1000) % 1_000_000;
srand $seed;
note "seed $seed";
END { diag("seed $seed") if defined $seed && !Test::More->builder->is_passing }

skip_all_without(!CdcTest::Faults::why_not(), CdcTest::Faults::why_not());

my $pg = PgServer->new(extra_conf => { max_replication_slots => 60 });
my $began = time;
sub lap ($what) { note sprintf '%s: %.1f s', $what, time - $began; $began = time }

# ---- a backlog that every slot gets ----

CdcTest::Workload::create($pg, 'shop');
$pg->sql('shop', q(CREATE PUBLICATION p FOR TABLE item, pair; SELECT pg_create_logical_replication_slot('base', 'pgoutput')));
$pg->sql('shop', CdcTest::Workload::work($_, 250)) for 1 .. 3;
my $end = $pg->sql('shop', 'SELECT pg_current_wal_insert_lsn()');
my $session = $pg->session('shop');
my $faults = CdcTest::Faults->new;
my $top = scratch();

sub confirmed ($name) { return lsn_num($session->sql("SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '$name'")) }
sub saved ($s) { return -e "$s->{state}/s.json" ? lsn_num(JSON::PP->new->decode(slurp("$s->{state}/s.json"))->{lsn}) : 0 }

# A slot and a folder of that name; $how: stdout and args as a function of the folder.
my %how = (
    file   => sub ($dir) { (args => ['-f', "$dir/out"]) },
    stdout => sub ($dir) { (stdout => ">>$dir/out") },
    files  => sub ($dir) { (args => ['-f', "$dir/{table}-{lsn}.ndjson", '--rotate' => '20kB']) },
    pipe   => sub ($dir) { (stdout => 'pipe') },
);
sub begin ($name, $how, %more) {
    my $dir = $more{dir} // "$top/$name";
    mkdir $_ for $dir, grep { defined } $more{state};
    $session->sql("SELECT pg_copy_logical_replication_slot('base', '$name')");
    return { name => $name, state => $more{state} // $dir, dir => $dir, $how{$how}->($dir) };
}

# After its end the server needs a moment to notice.
sub drop_slot ($name) {
    wait_until(sub { ($session->try("SELECT pg_drop_replication_slot('$name')"))[0] }, 30, "slot $name to be free");
}

sub run ($s, %more) {
    return Cdc->run(server => $pg, db => 'shop', stdout => $s->{stdout} // 'null', %more,
        args => [-S => $s->{name}, '-m' => 'never', '--publication' => 'p', '--publication-mode' => 'existing', -e => 'plain',
            '--state' => "$s->{state}/s.json", '--status-interval' => '0.02', '--retry-delay' => '0.01', -E => $end, @{ $s->{args} // [] }]);
}
sub faulty ($s) { return run($s, env => $faults->env) }

# The server's data comes slowly, so that a run has many commit cycles.
sub slowly ($s) {
    $faults->arm(call => 'recv', path => 'socket:', @$_, times => 0) for [delay => 0.001], [short => 3000];
    return faulty($s);
}

sub in_order (@lines) {
    return map { $_->[2] } sort { $a->[0] <=> $b->[0] || $a->[1] <=> $b->[1] }
        map { /"commit_lsn":"([^"]+)","seq":(\d+),/ or die "no place in: $_"; [lsn_num($1), $2, $_] } @lines;
}

# All that is there, in the order of the transactions where it is in several files.
sub output ($s, $r = undef) {
    return $r->out if ($s->{stdout} // '') eq 'pipe';
    my @files = grep { !/^s\.json|^ballast/ } complete($s->{dir});
    return join '', in_order(map { /.*\n/g } map { slurp("$s->{dir}/$_") } @files) if @files > 1;
    return @files ? slurp("$s->{dir}/$files[0]") : '';
}

# is() would print megabytes.
sub same ($have, $want, $name) {
    ok($have eq $want, $name) or diag(length($have) . ' bytes, not ' . length $want);
}

my $undisturbed = begin('undisturbed', 'file');
run($undisturbed)->exited(0, 'an undisturbed run');
my $want = output($undisturbed);
my $oracle = CdcTest::Workload::oracle()->apply(records($want));
$oracle->faultless('undisturbed: the records are right');
CdcTest::Workload::compare($oracle, $pg, 'shop', 'undisturbed');
cmp_ok(length $want, '>', 200_000, 'and are many');
lap('undisturbed');

# ---- what must not matter ----

my @reading = (call => [qw(read pread)]);
my @writing = (call => [qw(write pwrite send)]);
my %harmless = (
    'interrupted writes' => [[@writing, error => 'EINTR', times => 0, every => 2]],
    'interrupted reads'  => [[@reading, error => 'EINTR', times => 0, every => 2], [call => 'recv', error => 'EINTR', times => 0, every => 2]],
    'interrupted waits'  => [[call => [qw(poll nanosleep)], error => 'EINTR', times => 0, every => 2]],
    'writes of a part'   => [[call => 'write', short => 61, times => 0]],
    'reads of a part'    => [[call => [qw(read pread recv)], short => 100, times => 0]],
    'writes in pieces, interrupted' => [[call => 'write', error => 'EINTR', nth => 2, times => 0, every => 2], [call => 'write', short => 1000, times => 0]],
);
my $n = 0;
for my $name (sort keys %harmless) {
    my @hows = $ENV{CDCTEST_ALL_CALLS} ? sort keys %how : ((sort keys %how)[$n % 4], (sort keys %how)[($n + 1 + int rand 3) % 4]);
    for my $how (@hows) {
        my $s = begin('harmless_' . $n++, $how);
        $faults->clear;
        my @rules = map { $faults->arm(@$_) } @{ $harmless{$name} };
        my $r = faulty($s);
        $r->exited(0, "$name, $how: exit status");
        is($r->err, '', "$name, $how: nothing to say");
        cmp_ok(sum0(map { $faults->fired($_) } @rules), '>', 0, "$name, $how: happened") and note(join ' ', map { $faults->fired($_) } @rules);
        same(output($s, $r), $want, "$name, $how: the same output");
    }
}
lap('harmless');

# A pipe that is said to be full is waited for.
{
    my $s = begin('again', 'pipe');
    $faults->clear;
    my $rule = $faults->arm(call => 'write', path => 'pipe:', error => 'EAGAIN', times => 0, every => 2);
    my $r = faulty($s);
    $r->exited(0, 'EAGAIN on a pipe: exit status');
    cmp_ok($faults->fired($rule), '>', 0, 'EAGAIN on a pipe: happened');
    same($r->out, $want, 'EAGAIN on a pipe: the same output');
}

# ---- a sync that has failed ----

# It is final: the file is not synced again as if that could make it good, and nothing is made of it.
for my $how (qw(file stdout files)) {
    for my $what (['fdatasync', 'out', 'EIO'], ['fdatasync', 'out', 'ENOSPC'], ['fsync', 's.json.tmp', 'EIO']) {
        my ($call, $path, $error) = @$what;
        $path = '.ndjson' if $how eq 'files' && $path eq 'out';
        my $name = "$how, $call of $path, $error";
        my $s = begin(lc("sync_${how}_${call}_$error"), $how);
        $faults->clear;
        $faults->trace(1, data => 100);
        # "out" is part of other names as well
        my $rule = $faults->arm(call => $call, path => $path eq 'out' ? "$s->{dir}/out" : $path, error => $error, nth => 2);
        my $r = slowly($s);
        is($faults->fired($rule), 1, "$name: happened");
        $r->exited(5, "$name: exit status");
        my @calls = $faults->calls;
        shift @calls while @calls && !$calls[0]{rule};
        my $failed = shift @calls;
        my @then = grep { $_->{call} =~ /sync|rename/ && $_->{path} !~ /\.lock/ } @calls;
        is(join(', ', map { "$_->{call} of $_->{path}" } @then), '', "$name: nothing is synced or renamed after it");
        cmp_ok(confirmed($s->{name}), '<=', saved($s), "$name: nothing is acknowledged that is not on record");
        run($s)->exited(0, "$name: the next run");
        same(output($s), $want, "$name: each change once then");
        is_deeply([under_way($s->{dir})], [], "$name: nothing is left under way");
    }
}
lap('syncs');

# ---- a disk that gets full ----

# First a part of a write, then none any more: of the output and of whatever else there is.
for my $how (qw(file files)) {
    for my $after (3, 8, 13) {
        my $s = begin("full_${how}_$after", $how);
        $faults->clear;
        my $part = $faults->arm(call => 'write', path => $s->{dir}, short => 100, nth => $after);
        my $none = $faults->arm(call => 'write', path => $s->{dir}, error => 'ENOSPC', nth => $after + 1, times => 0);
        my $r = slowly($s);
        my $name = "$how, full at write $after";
        is($faults->fired($part), 1, "$name: happened");
        $r->exited(5, "$name: exit status");
        is(scalar(() = $r->err =~ /No space left on device/g), 1, "$name: says so, once") or diag($r->err);
        cmp_ok(confirmed($s->{name}), '<=', saved($s) || confirmed('base'), "$name: nothing is acknowledged that is not on record");
        run($s)->exited(0, "$name: the next run");
        same(output($s), $want, "$name: each change once then");
        is_deeply([under_way($s->{dir})], [], "$name: nothing is left under way");
    }
}

# Real ones: $small is the folder on it, $fill bytes of it are taken.
sub on_small_disk ($name, $size, $how, %where) {
    my $small = "$top/small_$name";
    mkdir $small;
    my $mounted = $> == 0 && CdcTest::Process->capture(argv => ['mount', '-t', 'tmpfs', '-o', "size=$size", 'tmpfs', $small])->{exit} == 0;
    skip_without($mounted, 'a small file system cannot be mounted', 6);
    my $done = eval {
        my $s = begin($name, $how, map { $_ => $small } grep { $where{$_} } keys %where);
        # all but what is wanted of it
        spew("$small/ballast", '');
        open my $fh, '>', "$small/ballast" or die "ballast: $!";
        my $free = $where{free};
        my $left = (split ' ', (split /\n/, CdcTest::Process->capture(argv => ['df', '-B1', '--output=avail', $small])->{out})[-1])[0];
        syswrite $fh, "b" x 4096 for 1 .. int(($left - $free) / 4096);
        close $fh;
        my $r = run($s);
        $r->exited(5, "$name: exit status");
        like($r->err, qr/\Acdcdump: error: could not [^\n]*\Q$small\E[^\n]*: No space left on device\n\z/, "$name: says so, and where");
        cmp_ok(confirmed($name), '<=', saved($s) || confirmed('base'), "$name: nothing is acknowledged that is not on record");
        my $before = confirmed($name);
        run($s)->exited(5, "$name: as long as there is no room");
        unlink "$small/ballast";
        run($s)->exited(0, "$name: the run with room again");
        same(output($s), $want, "$name: each change once then");
        is_deeply([under_way($s->{dir})], [], "$name: nothing is left under way");
        1;
    };
    my $error = $@;
    CdcTest::Process->capture(argv => ['umount', '-l', $small]);
    ok($done, "$name: all of it") or diag($error);
}

SKIP: { on_small_disk('output', '2m', 'files', dir => 1, free => 80 * 1024, state => 0) }
SKIP: { on_small_disk('state_folder', '1m', 'file', state => 1, free => 0) }
SKIP: { on_small_disk('both', '2m', 'files', dir => 1, state => 1, free => 120 * 1024) }
lap('full');

# ---- random faults, one run after the other ----

my @kinds = (
    (map { my $call = $_; map { [$call, error => $_] } qw(EIO ENOSPC) } qw(write fsync fdatasync rename open)),
    (map { my $call = $_; map { [$call, kill => $_] } qw(before after) } qw(write fsync fdatasync rename open close unlink send)),
    ['write', kill => 'torn'], ['write', kill => 'torn'], ['write', short => 1], ['recv', error => 'ECONNRESET'], ['send', cut => 1], ['recv', cut => 1],
    ['fdatasync', delay => 0.02],
);

for my $how (qw(file files pipe)) {
    my ($fired, %fired, @wrong) = (0);
    my $enough = $ENV{CDCTEST_ALL_CALLS} ? 300 : 12;
    for my $round (1 .. 5 * $enough) {
        last if $fired >= $enough;
        my $s = begin("random_${how}_$round", $how);
        my $out = '';
        my %seen;
        for my $run (1 .. 14) {
            my $kind = $kinds[rand @kinds];
            my ($call, @what) = @$kind;
            my @where = $call =~ /recv|send/ ? (path => 'socket:') : (path => [$s->{dir}, 'pipe:']);
            my $nth = 1 + int rand($call eq 'recv' ? 60 : $call eq 'send' ? 25 : 12);
            $faults->clear;
            my $rule = $faults->arm(call => $call, @where, nth => $nth, @what);
            my $position = saved($s);
            my $r = slowly($s);
            my $what = "round $round, run $run, $call $nth @what";
            if ($faults->fired($rule)) { $fired++; $fired{"$call @what"}++ }
            push @wrong, "$what: " . $r->describe . ' ' . $r->err
                unless defined $r->exit ? $r->exit =~ /\A[0235]\z/ : $r->signal == 9;
            push @wrong, sprintf '%s: took %.0f s: %s', $what, $r->seconds, $r->err if $r->seconds > CdcTest::Process::patient(20);
            push @wrong, "$what: the slot is ahead" if confirmed($s->{name}) > (saved($s) || confirmed('base'));
            if ($how eq 'pipe') {
                my @lines = $r->out =~ /.*\n/g;
                push @wrong, "$what: what is on record comes again"
                    if grep { /"commit_lsn":"([^"]+)"/ && lsn_num($1) < $position } @lines;
                $out .= join '', grep { !$seen{$_}++ } @lines;
            }
            last if $r->exit && $r->exit == 0;
        }
        my $r = run($s);
        push @wrong, "round $round, the last run: " . $r->describe . ' ' . $r->err unless defined $r->exit && $r->exit == 0;
        push @wrong, "round $round: left " . join ' ', under_way($s->{dir}) if under_way($s->{dir});
        $out = $how eq 'pipe' ? $out . join('', grep { !$seen{$_}++ } $r->out =~ /.*\n/g) : output($s);
        push @wrong, "round $round: " . length($out) . ' bytes, not ' . length $want if $out ne $want;
        drop_slot($s->{name});
    }
    is(join("\n", @wrong), '', "random, $how: all is right");
    cmp_ok($fired, '>=', $enough, "random, $how: faults") and note(join ', ', map { "$_ $fired{$_}" } sort keys %fired);
    lap("random, $how");
}
done_testing;
