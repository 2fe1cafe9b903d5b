# What a run finds after a kill and cannot look at, or finds changed: nothing is given up, and what an
# earlier run has made is durable before the state file stops naming it.
use v5.36;
use CdcTest;
use CdcTest::Faults;
use CdcTest::Files;

skip_all_without(!CdcTest::Faults::why_not(), CdcTest::Faults::why_not());

my $pg = PgServer->new;
$pg->create_db('shop');
$pg->sql('shop', q(CREATE TABLE t (id int PRIMARY KEY, v text);
    CREATE PUBLICATION p FOR TABLE t; SELECT pg_create_logical_replication_slot('base', 'pgoutput')));
my ($middle, $end) = (map {
    $pg->sql('shop', "INSERT INTO t SELECT g, repeat('x', 100) FROM generate_series($_ * 10, $_ * 10 + 3) g");
    $pg->sql('shop', 'SELECT pg_current_wal_insert_lsn()');
} 1 .. 5)[1, 4];
my $session = $pg->session('shop');
my $faults = CdcTest::Faults->new;
my $top = scratch();

sub begin ($name, $file) {
    mkdir $_ for "$top/$name", "$top/$name/state", "$top/$name/out";
    $session->sql("SELECT pg_copy_logical_replication_slot('base', '$name')");
    $faults->clear;
    return { name => $name, out => "$top/$name/out", file => "$top/$name/out/$file" };
}

sub run ($s, @more) {
    wait_until(sub { $session->sql("SELECT NOT active FROM pg_replication_slots WHERE slot_name = '$s->{name}'") eq 't' },
        30, "slot $s->{name} to be free");
    return Cdc->run(server => $pg, db => 'shop', stdout => 'null', env => $faults->env, @more,
        args => [-S => $s->{name}, '-m' => 'never', '--publication' => 'p', '--publication-mode' => 'existing', -e => 'plain',
            '--state' => "$top/$s->{name}/state/s.json", -E => $s->{until} // $end, -f => $s->{file}]);
}

# A run that is killed there.
sub killed ($s, @fault) {
    my $rule = $faults->arm(@fault);
    run($s)->signaled('KILL', "$s->{name}: killed");
    is($faults->fired($rule), 1, "$s->{name}: where it should be");
    $faults->clear;
}

sub lines ($s) { return map { slurp("$_") =~ /.*\n/g } grep { -f && !/partial/ } glob("$s->{out}/*"), glob("$s->{out}/*/*") }
sub is_whole ($s) {
    my @lines = lines($s);
    my %seen = map { $_ => 1 } @lines;
    is(scalar(@lines) . ' ' . keys %seen, '20 20', "$s->{name}: each change once");
}

# ---- folders ----

{
    my $s = begin('folder', '{table}/x-{lsn}.ndjson');
    killed($s, call => 'mkdir', path => 'out/t', kill => 'after');
    ok(-d "$s->{out}/t", 'folder: is there');
    $faults->trace(1);
    run($s)->exited(0, 'folder: the next run');
    my @calls = $faults->calls;
    my ($synced) = grep { $calls[$_]{call} eq 'fsync' && $calls[$_]{path} eq $s->{out} } 0 .. $#calls;
    my ($created) = grep { $calls[$_]{call} eq 'open' && $calls[$_]{path} =~ /partial\z/ } 0 .. $#calls;
    ok(defined $synced && $synced < $created, 'folder: what the killed run has made is synced before it is used');
    is_whole($s);
}

# ---- complete files ----

{
    my $s = begin('complete', '{table}-{lsn}.ndjson');
    killed($s, call => 'rename', path => '.ndjson', kill => 'before');
    my ($partial) = glob "$s->{out}/*.partial";
    my $bytes = slurp($partial);
    spew($partial, $bytes =~ s/x/y/gr);
    my $r = run($s);
    $r->exited(2, 'complete, then changed: exit status');
    like($r->err, qr/its accepted part has been changed/, 'complete, then changed: says so');
    spew($partial, substr $bytes, 0, 100);
    $r = run($s);
    $r->exited(2, 'complete, then shortened: exit status');
    like($r->err, qr/it is shorter than what was accepted/, 'complete, then shortened: says so');
    spew($partial, $bytes);
    run($s)->exited(0, 'complete, put back: exit status');
    is_whole($s);
    is(join(' ', glob "$s->{out}/*.partial"), '', 'complete, put back: has its name');
}

# The name is used by somebody else now.
{
    my $s = begin('taken', '{table}-{lsn}.ndjson');
    killed($s, call => 'rename', path => '.ndjson', kill => 'after');
    my ($file) = glob "$s->{out}/*.ndjson";
    is_whole($s);
    rename $file, "$top/taken/kept" or die;
    spew("$file.partial", "of somebody else\n");
    my $r = run($s);
    $r->exited(0, 'taken: exit status');
    is($r->err, '', 'taken: nothing to say');
    is(slurp("$file.partial"), "of somebody else\n", 'taken: is left alone');
}

# ---- the output of the last run ----

for my $fault ([call => 'pread', error => 'EIO'], [call => 'open', nth => 2, error => 'EMFILE'], [call => 'stat', error => 'EIO']) {
    my %fault = @$fault;
    my $s = begin("previous_$fault{call}", 'one');
    $s->{until} = $middle;
    run($s)->exited(0, "$s->{name}: as far as the middle");
    delete $s->{until};
    killed($s, call => 'fdatasync', path => 'out/one', kill => 'after');
    $s->{file} = "$s->{out}/two";
    my $rule = $faults->arm(@$fault, path => 'out/one');
    my $r = run($s);
    is($faults->fired($rule), 1, "$s->{name}: the fault");
    $r->exited(5, "$s->{name}: exit status");
    like($r->err, qr{\Acdcdump: error: could not .*out/one"?.*: (Input/output error|Too many open files)\n\z}, "$s->{name}: says why");
    ok(!-e $s->{file} || -z $s->{file}, "$s->{name}: nothing is given");
    $faults->clear;
    run($s)->exited(0, "$s->{name}: the next run");
    is_whole($s);
}

# ---- a pipe that cannot be asked ----

{
    my $s = begin('unasked', '-');
    $s->{file} = '-';
    my $rule = $faults->arm(call => 'ioctl', path => 'pipe:', error => 'EIO', times => 3);
    my $r = run($s, stdout => 'pipe');
    $r->exited(0, 'unasked: exit status');
    is($faults->fired($rule), 3, 'unasked: the fault');
    is(scalar(() = $r->out =~ /\n/g), 20, 'unasked: all changes');
}


done_testing;
