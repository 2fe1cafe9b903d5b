# Bad moments of the server while others accept the output: it stops or comes back as an old copy of itself,
# is silent, or its stream is behind rows that have been read.  708_ends.t has those of commands and readers.
use v5.36;
use CdcTest;
use CdcTest::Process;
use Time::HiRes qw(sleep time);

use constant FIONREAD => 0x541B;

my $pg = PgServer->new;
$pg->create_db('shop');
$pg->sql('shop', 'CREATE TABLE t (id int PRIMARY KEY, name text); CREATE TABLE quiet (id int, name text)');
my $dir = scratch();
$SIG{PIPE} = 'IGNORE';    # a reply to a run that has ended
my $lap = time;
sub lap ($what) { note sprintf '%s: %.1f s', $what, time - $lap; $lap = time }

# Every slot sees all changes, so each part of this test takes one of its own.
sub args ($name, @more) {
    return [-S => $name, '-m' => 'never', -e => 'plain', '--state' => "$dir/$name.json", '-v', '--status-interval' => '0.1',
        '--retry-delay' => '0.05', (grep { $_ eq '-t' } @more) ? () : (-t => 't'), @more];
}
sub run ($name, @more) { return Cdc->run(server => $pg, db => 'shop', args => args($name, @more, -E => 'now')) }

sub begin ($name) {
    run($name)->exited(0, "$name: a slot");
    mkdir "$dir/$name";
}

# The run, and the handle to reply by.
sub reply ($name, @more) {
    pipe my $from, my $to or die "pipe: $!";
    my $c = Cdc->start(server => $pg, db => 'shop', args => args($name, '--ack-mode=reply', '--ack-fd=3', @more), fds => { 3 => $from });
    close $from;
    return ($c, $to);
}
sub ack ($to, @lsns) { return defined syswrite $to, join '', map { "$_\n" } @lsns }

my $last_id = 0;
sub insert () { $pg->sql('shop', 'INSERT INTO t VALUES (' . ++$last_id . ", 'x')") }

sub commits (@lines) {
    my %seen;
    return grep { !$seen{$_}++ } map { /"commit_lsn":"([^"]+)"/ } @lines;
}

sub confirmed ($name) { return lsn_num($pg->slot($name)->{confirmed_flush_lsn}) }
sub saved ($name) { return lsn_num(JSON::PP->new->decode(slurp("$dir/$name.json"))->{lsn}) }
sub streaming ($c, $n = 1) { $c->wait_stderr(qr/(streaming from.*){$n}/s); return $c }
sub left_in ($handle) { my $n = pack 'i', 0; ioctl $handle, FIONREAD, $n or die "ioctl: $!"; return unpack 'i', $n }

# ---- rows, and changes that are older ----

# While the stream stands still, rows of later snapshots come before a change that had been made earlier:
# the reply to that change is lower than those to the rows.
{
    my $name = 'behind';
    $pg->sql('shop', q(CREATE TABLE s (id int PRIMARY KEY, name text); INSERT INTO s SELECT g, repeat('z', 2000) FROM generate_series(1, 1200) g));
    my ($c, $to) = reply($name, '-m' => 'initial', '--snapshot=incremental', '--chunk-size=100', -t => 's');
    streaming($c);
    $c->read_lines(1);    # the others fill the pipe
    my $walsender = $pg->slot($name)->{active_pid};
    kill 'STOP', $walsender or die "kill: $!";
    $pg->sql('shop', q(UPDATE s SET name = 'older' WHERE id = 1));
    my @rows = $c->read_lines(1199);
    is(scalar(grep { /^\{"op":"r"/ } @rows), 1199, 'behind: all rows come first');
    ack($to, (map { /"lsn":"([^"]+)"/ } @rows)[-1]);
    wait_until(sub { left_in($to) == 0 }, 20, 'the reply');
    kill 'CONT', $walsender or die "kill: $!";
    my ($line) = $c->read_lines(1);
    my ($commit) = commits($line);
    like($line, qr/^\{"op":"u"/, 'behind: then the change');
    cmp_ok(lsn_num($commit), '<', lsn_num(($rows[-1] =~ /"lsn":"([^"]+)"/)[0]), '… which is older');
    ack($to, $commit);
    ok(eval { wait_until(sub { saved($name) > lsn_num($commit) }, 10, 'the position') }, '… and is accepted by a reply to it');
    $c->stop->exited(0, 'behind: stopped');
    my $r = run($name, '-m' => 'initial', '--snapshot=incremental', -t => 's');
    is($r->out, '', '… and does not come again');
    $pg->sql('shop', 'DROP TABLE s');
}
lap('behind');

# ---- a server that stops while the end of the output is waited for ----

for my $how ('fast', 'immediate') {
    my $name = "drain_$how";
    begin($name);
    insert() for 1 .. 40;
    my ($c, $to) = reply($name, -E => 'now', '--stall-timeout=20');
    my @commit = commits($c->read_until(qr/"id":$last_id,/));
    spew("$dir/$name/acks", join "\n", @commit, '');
    # one now and then, so that nothing stands still
    my $replies = CdcTest::Process->spawn(stdin => "<$dir/$name/acks", stdout => $to,
        argv => ['/bin/sh', '-c', "while read -r lsn; do echo \$lsn; [ -e '$dir/$name/go' ] || sleep 0.5; done"]);
    close $to;
    wait_until(sub { saved($name) > lsn_num($commit[0]) }, 20, 'the first reply');
    if ($how eq 'fast') {
        ok(eval { $pg->stop('fast', 12) }, "replies that take their time: a fast stop is not held up") or $pg->stop('immediate');
    } else {
        $pg->stop('immediate');
    }
    ok($c->running, "$how: cdcdump waits on");
    $pg->start if $how eq 'fast';
    spew("$dir/$name/go", '');
    my $r = $c->wait(40);
    $r->exited(0, "$how: all is accepted");
    unlike($r->err, qr/error:/, '… without an error');
    cmp_ok(saved($name), '>', lsn_num($commit[-1]), '… and on record');
    $pg->start if $how eq 'immediate';
    is(confirmed($name), saved($name), '… as the slot knows') if $how eq 'fast';
    is(run($name)->out, '', '… nothing comes again');
}
lap('the server stops');

# ---- a silent server ----

# As it is while it decodes what is not for us, which it begins anew with each connection.
{
    $pg->create_db('silent');
    $pg->sql('silent', q(CREATE TABLE t (id int PRIMARY KEY, name text); ALTER DATABASE silent SET wal_sender_timeout = '500ms'));
    my $c = streaming(Cdc->start(server => $pg, db => 'silent', args => args('silent')));
    $c->wait_written($pg->wal_lsn);
    my @pauses;
    my $silence = sub ($n) {
        streaming($c, $n);
        my $walsender;
        wait_until(sub { $walsender = $pg->slot('silent')->{active_pid} }, 20, 'a walsender');
        kill 'STOP', $walsender or die "kill: $!";
        my $stopped = time;
        wait_until(sub { (@pauses = $c->stderr =~ /has said nothing for ([\d.]+) seconds/g) >= $n }, 30, 'an end of patience');
        kill $_, $walsender for qw(TERM CONT);
    };
    # it grows from one time to the next; a server that has had something to say begins anew
    my $n = 0;
    $silence->(++$n) until $n == 5 || $n >= 2 && $pauses[-1] > 1.7;
    cmp_ok($pauses[-1], '>', 1.7, "patience with a silent server grows: @pauses");
    streaming($c, $n + 1);
    my $longest = $pauses[-1];
    $pg->sql('silent', q(INSERT INTO t VALUES (1, 'x')));
    ok(scalar $c->read_until(qr/"id":1,/), 'a change comes through');
    $silence->(++$n);
    cmp_ok($pauses[-1], '<', 1.5 * $longest, '… and patience is what it was');
    $c->stop->exited(0, 'silent: stopped');
}
lap('silence');

# ---- a server that comes back as it was ----

# Positions are lower then than what had been acknowledged in the same run before.
{
    my $name = 'restored';
    my $copy = $pg->dir . '/copy';
    $pg->stop('fast');
    system('cp', '-a', $pg->data_dir, $copy) == 0 or die "cp: $?";
    $pg->start;
    my ($c, $to) = reply($name, '-m' => 'when_needed');
    streaming($c);
    $pg->sql('shop', q(INSERT INTO quiet SELECT g, repeat('x', 1000) FROM generate_series(1, 3000) g));
    insert();
    my ($before) = commits($c->read_until(qr/"id":$last_id,/));
    ack($to, $before);
    wait_until(sub { saved($name) > lsn_num($before) }, 10, 'the position');
    $pg->stop('immediate');
    system('rm', '-rf', $pg->data_dir) == 0 && system('mv', $copy, $pg->data_dir) == 0 or die "mv: $?";
    $pg->start;
    streaming($c, 2);
    insert();
    my ($commit) = commits(($c->read_until(qr/"id":$last_id,/))[-1]);
    cmp_ok(lsn_num($commit), '<', lsn_num($before), 'restored: a change of the new history is older');
    ack($to, $commit);
    ok(eval { wait_until(sub { my $at = saved($name); $at > lsn_num($commit) && $at < lsn_num($before) }, 10, 'the position') }, '… and accepted by a reply to it');
    $c->stop->exited(0, 'restored: stopped');
    is(run($name, '-m' => 'when_needed')->out, '', '… nothing comes again');
}
lap('restored');

done_testing;
