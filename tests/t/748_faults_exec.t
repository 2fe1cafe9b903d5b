# Faults at single calls where others say what has been accepted: commands (--exec), readers that reply, and
# --ack afterwards.  At least once, in whole transactions, and nothing that is on record comes again.
#
# CDCTEST_ALL_CALLS=1: at all calls, not just some.  CDCTEST_SEED=N makes the same choices again; the seed is
# printed.
use v5.36;
use CdcTest;
use CdcTest::Faults;
use List::Util qw(min shuffle);
use Time::HiRes qw(sleep time);

my $seed = $ENV{CDCTEST_SEED} // (time * 1000) % 1_000_000;
srand $seed;
note "seed $seed";
END { diag("seed $seed") if defined $seed && !Test::More->builder->is_passing }
$SIG{PIPE} = 'IGNORE';    # a reply to a run that has ended

skip_all_without(!CdcTest::Faults::why_not(), CdcTest::Faults::why_not());

my $pg = PgServer->new(extra_conf => { max_replication_slots => 60 });
my $began = time;
sub lap ($what) { note sprintf '%s: %.1f s', $what, time - $began; $began = time }

# ---- a backlog that every slot gets ----

$pg->create_db('shop');
$pg->sql('shop', q(CREATE TABLE t (id int PRIMARY KEY, v text);
    CREATE PUBLICATION p FOR TABLE t; SELECT pg_create_logical_replication_slot('base', 'pgoutput')));
$pg->sql('shop', "INSERT INTO t SELECT g, repeat('x', 100) FROM generate_series($_ * 10, $_ * 10 + 3) g") for 1 .. 6;
my $end = $pg->sql('shop', 'SELECT pg_current_wal_insert_lsn()');
$pg->sql('shop', q(CREATE PUBLICATION large FOR TABLE t; SELECT pg_create_logical_replication_slot('large', 'pgoutput');
    INSERT INTO t SELECT g, repeat('y', 100) FROM generate_series(1000, 1299) g));
my $large_end = $pg->sql('shop', 'SELECT pg_current_wal_insert_lsn()');
my $session = $pg->session('shop');
my $dir = scratch();

sub renew_slot ($from = 'base') {
    wait_until(sub { ($session->try(q(SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = 's')))[0] }, 30, 'the slot to be free');
    $session->sql("SELECT pg_copy_logical_replication_slot('$from', 's')");
}
sub begin ($from = 'base') { unlink glob "$dir/*"; renew_slot($from) }
sub confirmed () { return lsn_num($session->sql(q(SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = 's'))) }
sub record_of () { return -e "$dir/s.json" ? JSON::PP->new->decode(slurp("$dir/s.json")) : undef }
sub saved () { my $record = record_of(); return $record ? lsn_num($record->{lsn}) : 0 }

sub args (@more) {
    return [-S => 's', '-m' => 'never', '--publication' => 'p', '--publication-mode' => 'existing', -e => 'plain',
        '--state' => "$dir/s.json", '--retry-delay' => '0.01', '--status-interval' => '0.02', -E => $end, @more];
}

# [commit_lsn, tx_seq, line]
sub events ($bytes) {
    return map { /"commit_lsn":"([^"]+)","seq":(\d+),/ or die "no place in: $_"; [lsn_num($1), $2, $_] } $bytes =~ /^.*\n/mg;
}
sub text_of (@events) { my %seen; return join '', grep { !$seen{$_}++ } map { $_->[2] } @events }

# ---- commands ----

# What it was given is there when it is in the log.
my $keep = 'f=$(mktemp "$D/batch.XXXXXX") && cat > "$f" && echo "$f" >> "$D/log"';

sub exec_run ($command, @more) {
    my %how = ref $more[-1] ? %{ pop @more } : ();
    return Cdc->run(server => $pg, db => 'shop', stdout => 'null', args => args("--exec=$command", '--batch-rows' => 5, @more),
        env => { D => $dir, TMPDIR => $dir, %{ $how{env} // {} } }, timeout => 30);
}

sub batches () { return -e "$dir/log" ? map { slurp($_) } split /\n/, slurp("$dir/log") : () }

begin();
exec_run($keep)->exited(0, 'an undisturbed run');
my $want = text_of(map { events($_) } batches());
is($want =~ tr/\n//, 24, 'has all changes');
cmp_ok(scalar(my @all = batches()), '>=', 2, 'in batches');

# What a fault has left, and what the next run makes of it.  $taken: what has been accepted by its reader.
sub wrong_between ($before, $taken) {
    my $record = record_of();
    my @wrong;
    push @wrong, 'the slot has moved without a state file' if !$record && confirmed() != $before;
    return @wrong unless $record;
    push @wrong, 'the slot is ahead of the state file' if confirmed() > saved();
    my %there = map { $_->[2] => 1 } events($taken);
    push @wrong, 'on record, but not taken' if grep { $_->[0] < saved() && !$there{ $_->[2] } } events($want);
    return @wrong;
}

sub ends_as ($r, $fired, @allowed) {
    return 'not killed, but ' . $r->describe if defined $r->signal && $r->signal != 9;
    return () if defined $r->signal;
    return $r->describe . ' ' . $r->err unless grep { $_ == $r->exit } $fired ? @allowed : 0;
    return $r->exit && $r->err !~ /^cdcdump: error: /m ? 'says nothing' : ();
}

sub exec_trial ($faults, $n, %rule) {
    begin();
    my $before = confirmed();
    $faults->clear;
    my $rule = $faults->arm(%rule, nth => $n);
    my $r = exec_run($keep, '--exec-retries' => 1, { env => $faults->env });
    my $fired = $faults->fired($rule);
    my @where = $faults->fired_at($rule);
    # the first pipe is for signals
    my @wrong = ends_as($r, $fired, 0, 2, 3, 5, $fired && $where[0] eq 'pipe' && $n == 1 ? 1 : ());
    push @wrong, wrong_between($before, join '', batches());
    my ($position, @first) = (saved(), batches());
    my $last = exec_run($keep);
    push @wrong, 'then: ' . $last->describe . ' ' . $last->err unless defined $last->exit && $last->exit == 0;
    my @then = batches();
    push @wrong, 'what is on record comes again' if grep { $_->[0] < $position } map { events($_) } @then[@first .. $#then];
    push @wrong, 'a batch begins within a transaction' if grep { my ($first) = events($_); $first && $first->[1] != 1 } @then;
    my %sizes = map { $_->[0] => 1 } events($want);
    for my $batch (@then) {
        my %n;
        $n{ $_->[0] }++ for events($batch);
        push @wrong, 'a batch with a torn transaction' if grep { $_ != 4 } values %n;
    }
    push @wrong, 'has something else' if text_of(sort { $a->[0] <=> $b->[0] || $a->[1] <=> $b->[1] } map { events($_) } @then) ne $want;
    return ($fired, map { "$where[0] of $where[1], $n: $_" } @wrong);
}

# At so many of the calls that an undisturbed run makes, or so.
sub sweep ($name, $sample, $trial, $faults, $count, %rule) {
    my ($fired, @wrong) = (0);
    cmp_ok($count, '>', 0, "$name: there are such calls");
    my @at = $ENV{CDCTEST_ALL_CALLS} ? 1 .. $count + 10 : (shuffle(1 .. $count))[0 .. min($sample, $count) - 1];
    for my $n (@at) {
        my ($hit, @complaints) = $trial->($faults, $n, %rule);
        $fired++ if $hit;
        push @wrong, @complaints;
    }
    is(join("\n", @wrong), '', "$name: all is right");
    cmp_ok($fired, '>=', min($count, scalar @at) / 2, "$name: faults");
    lap("$name: $fired of about $count");
}

# How many calls there are that the rule is about.
sub count_calls ($faults, $run, %rule) {
    begin();
    $faults->clear;
    my $rule = $faults->arm(%rule, watch => 1, times => 0);
    $run->($faults);
    return $faults->seen($rule);
}

my $faults = CdcTest::Faults->new;
{
    # the server's calls have a test of their own, and waiting is no step
    my @calls = (call => [qw(open close read write pread fsync fdatasync rename unlink lseek fstat fcntl ioctl fork waitpid pipe dup mkdir)]);
    my $run = sub ($f) { exec_run($keep, { env => $f->env })->exited(0, 'exec: an undisturbed run') };
    my $n = count_calls($faults, $run, @calls, except => 'socket:');
    sweep('exec, kill before', 12, \&exec_trial, $faults, $n, @calls, except => 'socket:', kill => 'before');
    $n = count_calls($faults, $run, call => 'send', path => 'socket:');
    sweep('exec, kill before what the server is told', 4, \&exec_trial, $faults, $n, call => 'send', path => 'socket:', kill => 'before');
    for my $error (['fork', 'EAGAIN'], ['pipe', 'EMFILE'], ['lseek', 'EIO'], ['waitpid', 'EINTR'], ['write', 'ENOSPC'], ['open', 'EMFILE'], ['rename', 'EIO']) {
        my ($call, $errno) = @$error;
        my @rule = (call => $call, $call eq 'open' ? (path => $dir) : (except => 'socket:'));
        # it is asked again and again whether a command has ended
        my $count = $call eq 'waitpid' ? 4 : count_calls($faults, $run, @rule);
        sweep("exec, $errno at $call", 2, \&exec_trial, $faults, $count, @rule, error => $errno);
    }
}

# In what it starts: the command's shell, and who fills its pipe.
my $inside = CdcTest::Faults->new(children => 1);
{
    begin();
    $inside->clear;
    my $rule = $inside->arm(call => 'exec', error => 'ENOENT');
    my $r = exec_run($keep, '--exec-retries' => 0, { env => $inside->env });
    is($inside->fired($rule), 1, 'no shell: happened');
    $r->exited(5, 'no shell: exit status');
    is(scalar(my @none = batches()), 0, 'no shell: nothing was taken');
    is(confirmed(), saved(), 'no shell: nothing is acknowledged') or 1;
    is(scalar(grep { $_->[0] < saved() } events($want)), 0, 'no shell: nothing is on record');
}

# A command that goes when it has read what there was so far: the rest is still with who fills the pipe.
{
    begin('large');
    $inside->clear;
    my $rule = $inside->arm(call => 'write', path => 'pipe:', fd => 1, nth => 2, delay => 3);
    my @run = ('head -c 65536 > "$D/head"', '--exec-retries' => 0, '--batch-rows' => 1000, -E => $large_end, { env => $inside->env });
    my $before = confirmed();
    my $r = exec_run(@run);
    is($inside->fired($rule), 1, 'a command that does not read on: happened');
    is(-s "$dir/head", 65536, 'a command that does not read on: has read some of it');
    $r->exited(5, 'a command that does not read on: exit status');
    like($r->err, qr/without reading all of its input/, 'a command that does not read on: is found out');
    cmp_ok(saved(), '<=', $before, 'a command that does not read on: nothing is on record');
}
lap('inside');

# ---- readers that reply ----

# Replies to each transaction that it has read, at most so many times; gives what it has read, and replied.
sub reply_run (%how) {
    pipe my $from, my $to or die "pipe: $!";
    $to->autoflush(1);
    my $c = Cdc->start(server => $pg, db => 'shop', fds => { 3 => $from }, args => args('--ack-mode=reply', '--ack-fd=3'), %how);
    close $from;
    my ($seen, $replied) = (0, 0);
    my $reply = sub {
        my $end = rindex $c->out, "\n";
        my @new = events(substr $c->out, $seen, $end + 1 - $seen);
        $seen = $end + 1;
        return unless @new;
        # the last of a transaction has number 4
        my ($last) = grep { $_->[1] == 4 } reverse @new or return;
        syswrite $to, lsn_text($last->[0]) . "\n";
        $replied = $last->[0];
    };
    my $deadline = time + CdcTest::Process::patient(20);
    while ($c->running && time < $deadline) {
        my $n = $c->read_some(65536, 0.02);
        $reply->() if $n;
        last if defined $n && $n == 0;
    }
    $reply->() while $c->running && $c->read_some(65536, 0.02);
    my $r = $c->wait(20);
    return ($r, $replied);
}

sub reply_trial ($faults, $n, %rule) {
    begin();
    my $before = confirmed();
    $faults->clear;
    my $rule = $faults->arm(%rule, nth => $n);
    my ($r, $replied) = reply_run(env => $faults->env);
    my $fired = $faults->fired($rule);
    my @where = $faults->fired_at($rule);
    my @wrong = ends_as($r, $fired, 0, 2, 3, 5);
    push @wrong, wrong_between($before, $r->out);
    push @wrong, 'on record without a reply' if grep { $_->[0] > $replied && $_->[0] < saved() } events($want);
    my $position = saved();
    my ($last) = reply_run();
    push @wrong, 'then: ' . $last->describe . ' ' . $last->err unless defined $last->exit && $last->exit == 0;
    push @wrong, 'what is on record comes again' if grep { $_->[0] < $position } events($last->out);
    push @wrong, 'has something else' if text_of(events($r->out), events($last->out)) ne $want;
    return ($fired, map { "$where[0] of $where[1], $n: $_" } @wrong);
}

{
    my @calls = (call => [qw(open close read write fsync rename unlink fcntl dup)], except => 'socket:');
    my $run = sub ($f) { (reply_run(env => $f->env))[0]->exited(0, 'reply: an undisturbed run') };
    my $n = count_calls($faults, $run, @calls);
    sweep('reply, kill before', 8, \&reply_trial, $faults, $n, @calls, kill => 'before');
    for my $error (['read', 'EINTR'], ['read', 'EAGAIN'], ['poll', 'EINTR'], ['rename', 'EIO'], ['fsync', 'EIO']) {
        my ($call, $errno) = @$error;
        my @rule = (call => $call, except => 'socket:');
        my $count = min(10, count_calls($faults, $run, @rule));
        sweep("reply, $errno at $call", 2, \&reply_trial, $faults, $count, @rule, error => $errno);
    }
}

# A reader that takes the last bytes and replies while cdcdump is between looking at the one and at the other.
{
    begin();
    $faults->clear;
    my $rule = $faults->arm(call => 'poll', delay => 0.03, times => 0);
    my ($r) = reply_run(env => $faults->env);
    cmp_ok($faults->fired($rule), '>', 0, 'a reply that comes in between: happened');
    $r->exited(0, 'a reply that comes in between: is heard');
    is(text_of(events($r->out)), $want, 'a reply that comes in between: all is given');
}
lap('in between');

# ---- afterwards ----

sub deferred_run (%how) { return Cdc->run(server => $pg, db => 'shop', args => args('--ack-mode=deferred'), %how) }
sub ack (%how) { return Cdc->run(server => $pg, db => 'shop', args => ['--ack', '--state' => "$dir/s.json"], %how) }

sub deferred_trial ($faults, $n, %rule) {
    begin();
    my $before = confirmed();
    $faults->clear;
    my $rule = $faults->arm(%rule, nth => $n);
    my $r = deferred_run(env => $faults->env);
    my $fired = $faults->fired($rule);
    my @where = $faults->fired_at($rule);
    my @wrong = ends_as($r, $fired, 0, 2, 3, 5);
    push @wrong, 'something is acknowledged' if confirmed() != $before || grep { $_->[0] < saved() } events($want);
    push @wrong, 'ended well, but not with all' if defined $r->exit && $r->exit == 0 && $r->out ne $want;
    # what a run that did not end well has given is not what --ack takes
    push @wrong, 'something is pending' if ($r->exit // 1) && record_of() && record_of()->{pending} && !($r->out eq $want);
    my $last = deferred_run();
    push @wrong, 'then: ' . $last->describe . ' ' . $last->err unless defined $last->exit && $last->exit == 0;
    push @wrong, 'then does not give all again' if $last->out ne $want;
    my $acked = ack();
    push @wrong, '--ack: ' . $acked->describe . ' ' . $acked->err if $acked->exit || confirmed() != saved() || confirmed() < lsn_num($end) - 1000;
    return ($fired, map { "$where[0] of $where[1], $n: $_" } @wrong);
}

# A fault of --ack itself.
sub ack_trial ($faults, $n, %rule) {
    begin();
    my @wrong;
    my $r = deferred_run();
    push @wrong, 'first: ' . $r->describe if $r->exit;
    $faults->clear;
    my $rule = $faults->arm(%rule, nth => $n);
    $r = ack(env => $faults->env);
    my $fired = $faults->fired($rule);
    my @where = $faults->fired_at($rule);
    push @wrong, ends_as($r, $fired, 0, 2, 3, 5);
    push @wrong, 'the slot is ahead of the state file' if confirmed() > saved();
    push @wrong, 'said to be done, but is not' if defined $r->exit && $r->exit == 0 && (confirmed() != saved() || record_of()->{pending});
    my $again = ack();
    push @wrong, 'again: ' . $again->describe . ' ' . $again->err if $again->exit;
    push @wrong, 'pending after it' if record_of()->{pending} || confirmed() > saved();
    my $last = deferred_run();
    push @wrong, 'then: ' . $last->describe . ' ' . $last->err if $last->exit;
    push @wrong, 'then comes again' if $last->out ne '';
    return ($fired, map { "$where[0] of $where[1], $n: $_" } @wrong);
}

{
    my $run = sub ($f) { deferred_run(env => $f->env)->exited(0, 'deferred: an undisturbed run') };
    my @calls = (call => 'any', path => $dir);
    my $n = count_calls($faults, $run, @calls);
    sweep('deferred, kill before', 5, \&deferred_trial, $faults, $n, @calls, kill => 'before');
    sweep('deferred, EIO', 5, \&deferred_trial, $faults, $n, @calls, error => 'EIO');
    my $run_ack = sub ($f) { deferred_run(); ack(env => $f->env)->exited(0, '--ack: an undisturbed run') };
    $n = count_calls($faults, $run_ack, @calls);
    sweep('--ack, kill before', 5, \&ack_trial, $faults, $n, @calls, kill => 'before');
    sweep('--ack, EIO', 5, \&ack_trial, $faults, $n, @calls, error => 'EIO');
    @calls = (call => [qw(send recv)], path => 'socket:');
    $n = count_calls($faults, $run_ack, @calls);
    sweep('--ack, kill before a call to the server', 4, \&ack_trial, $faults, $n, @calls, kill => 'before');
    sweep('--ack, cut before a call to the server', 4, \&ack_trial, $faults, $n, @calls, cut => 1);
}
done_testing;
