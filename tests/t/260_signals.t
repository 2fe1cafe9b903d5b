# Signals, and the exit status of each.
use v5.36;
use CdcTest;
use Socket;
use Time::HiRes qw(sleep time);

my $pg = PgServer->new;
$pg->create_db('shop');
$pg->sql('shop', 'CREATE TABLE t (id int PRIMARY KEY, name text)');
my $dir = scratch();

sub args ($name, @more) { return [-S => $name, '-m' => 'never', '-e' => 'plain', '--state' => "$dir/$name.json", '-v', @more] }
sub start ($name, $stdout, @more) {
    return Cdc->start(server => $pg, db => 'shop', stdout => $stdout, args => args($name, @more));
}
sub run ($name, $stdout, @more) { return start($name, $stdout, -E => 'now', @more)->wait }
sub streaming ($c) { $c->wait_stderr(qr/streaming from|reading through SQL from/); return $c }
sub saved ($name) { return JSON::PP->new->decode(slurp("$dir/$name.json")) }

my $last_id = 0;
sub insert ($n = 3) {
    my $first = $last_id + 1;
    $last_id += $n;
    $pg->sql('shop', "INSERT INTO t SELECT g, repeat('x', 200) FROM generate_series($first, $last_id) g");
}

# So that a signal does not come between rows and their commit.
sub committed ($c) { $c->wait_written($pg->wal_lsn) }

sub ids ($bytes) { return $bytes =~ /^\{"op":"c",.*?"row":\{"id":(\d+),/mg }

# ---- idle ----

run($_, 'null')->exited(0, "$_: a slot") for qw(s file);
for my $signal (qw(INT TERM)) {
    my $c = streaming(start('s', 'pipe'));
    insert();
    $c->read_until(qr/"id":$last_id,/);
    committed($c);
    my $began = time;
    my $r = $c->stop($signal, 10);
    $r->exited(0, "$signal when idle: status 0");
    cmp_ok(time - $began, '<', 1, "$signal when idle: at once");
    is(join(',', ids($r->out)), join(',', $last_id - 2 .. $last_id), "$signal when idle: all is there");
    is($pg->slot('s')->{confirmed_flush_lsn}, saved('s')->{lsn}, "$signal when idle: acknowledged");
    is($pg->slot('s')->{active}, JSON::PP::false, "$signal when idle: the slot is free");
    unlike($r->err, qr/error|warning/, "$signal when idle: no complaints");
}
is(run('s', 'pipe')->out, '', 'and nothing comes again');

# ---- in mid-transaction ----

my $rows = 20_000;
for my $signal (qw(INT TERM)) {
    my $first = $last_id + 1;
    insert();
    insert($rows);
    # The reader has stopped, so the signal comes while the large transaction is on its way.
    my $c = streaming(start('s', 'pipe'));
    $c->read_lines(10);
    sleep 0.3;
    ok($c->kill($signal), "$signal in mid-transaction: hits");
    my $r = $c->wait(10);
    $r->exited(0, "$signal in mid-transaction, pipe: status 0");
    my @ids = ids($r->out);
    ok(@ids > 3 && @ids < $rows, "$signal in mid-transaction, pipe: it was in the middle") or diag(scalar @ids);
    ok($r->out =~ /\n\z/, "$signal in mid-transaction, pipe: the last line is whole") or diag('… ' . substr $r->out, -300);
    @ids = ids(run('s', 'pipe')->out);
    is("$ids[0]..$ids[-1] " . @ids, ($first + 3) . "..$last_id $rows", "$signal in mid-transaction, pipe: the next run has all of it");

    my $file = "$dir/out.$signal";
    $first = 1 if $signal eq 'INT';
    $c = start('file', 'null', '-f', $file);
    wait_until(sub { (-s $file // 0) > 200_000 }, 10, 'output');
    ok($c->kill($signal), "$signal in mid-transaction, file: hits");
    $r = $c->wait(10);
    $r->exited(0, "$signal in mid-transaction, file: status 0");
    my $bytes = slurp($file);
    my %end = map { $_->{commit_lsn} => $_->{seq} } records($bytes);
    is(scalar(grep { $_ != 3 && $_ != $rows } values %end), 0, "$signal in mid-transaction, file: cut to whole transactions");
    is(saved('file')->{output}{length}, length $bytes, "$signal in mid-transaction, file: all of it on record");
    run('file', 'null', '-f', $file)->exited(0, 'goes on');
    @ids = ids(slurp($file));
    is(scalar(@ids), $last_id - $first + 1, "$signal in mid-transaction, file: every change once");
}

# ---- a second signal ----

{
    # Bytes that nobody takes out of the pipe keep it waiting; without a state it has nothing to lose.
    insert(20_000);
    my $c = start('s', 'pipe', -E => 'now');
    wait_until(sub { $c->stderr =~ /streaming from|reading through SQL from/ }, 10, 'the stream');
    sleep 0.5;
    my $c2 = streaming(start('file', 'pipe'));
    ok($c2->kill('INT') && $c2->kill('INT'), 'two signals');
    my $r = $c2->wait(5, drain => 0);
    ok(defined $r->signal && $r->signal == 2 || defined $r->exit && $r->exit == 0, 'two signals end it') or diag($r->describe);
    $c->kill('TERM');
    # It gives the reader a second to take what is there.  Two signals that come before the first is
    # heeded are one.
    $c->wait_handler('TERM', 0);
    ok($c->kill('TERM'), 'a second SIGTERM while it waits for the reader');
    my $began = time;
    $r = $c->wait(5, drain => 0);
    $r->signaled('TERM', 'ends it at once');
    cmp_ok(time - $began, '<', 0.5, 'really');
    my @ids = ids(run('s', 'pipe')->out);
    is(scalar(@ids), 20_000, 'and nothing is lost');
}

# A run that has reached its end and waits for its reader.
{
    insert();
    my $c = start('s', 'pipe', -E => 'now');
    $c->wait_stderr(qr/streaming from|reading through SQL from/);
    sleep 0.5;
    ok($c->running, 'the end is reached, the reader is not');
    my $began = time;
    $c->kill('TERM');
    my $r = $c->wait(5, drain => 0);
    ok(defined $r->exit || defined $r->signal, 'a signal ends the wait');
    cmp_ok(time - $began, '<', 3, 'soon');
    my @ids = ids(run('s', 'pipe')->out);
    is(scalar(@ids), 3, 'what was not read comes again');
}

# Before there is any connection.
{
    socket my $deaf, PF_INET, SOCK_STREAM, 0 or die "socket: $!";
    bind $deaf, pack_sockaddr_in(0, INADDR_LOOPBACK) or die "bind: $!";
    listen $deaf, 1;
    my ($port) = unpack_sockaddr_in(getsockname $deaf);
    my $c = Cdc->start(args => [-d => "host=127.0.0.1 port=$port dbname=x", qw(-S s -m never)]);
    $c->wait_handler('INT');
    sleep 0.3;
    my $r = $c->stop('INT', 5);
    $r->exited(0, 'SIGINT while it connects: status 0');
}

# While a slot that somebody else has open is waited for, and while one is being created.
{
    my $c = streaming(start('s', 'pipe'));
    my $second = Cdc->start(server => $pg, db => 'shop', args => [qw(-S s -m never)]);
    $second->wait_handler('TERM');
    sleep 0.5;
    my $r = $second->stop('TERM', 3);
    $r->exited(0, 'SIGTERM while it waits for the slot: status 0');
    $c->stop->exited(0, 'the other goes on until it is stopped');

    my $open = $pg->session('shop');
    $open->sql(q(BEGIN; INSERT INTO t VALUES (-1, 'open')));
    $c = Cdc->start(server => $pg, db => 'shop', args => [qw(-S blocked -m never)]);
    my $text = $c->wait_stderr(qr/The server waits until these have ended: process \d+/, 10);
    $r = $c->stop('INT', 5);
    $r->exited(0, 'SIGINT while the slot is being created: status 0');
    $open->sql('ROLLBACK');
    wait_until(sub { my $s = $pg->slot('blocked'); !$s || !$s->{active} }, 10, 'the end of the creation');
    is($pg->slot('blocked'), undef, 'and leaves no half-made slot');
}

# ---- notes ----

{
    my $c = streaming(start('s', 'pipe'));
    insert();
    $c->read_until(qr/"id":$last_id,/);
    for my $n (1, 2) {
        ok($c->kill('USR1'), 'SIGUSR1');
        $c->wait_stderr(qr/(3 records, \d+ bytes; received up to \S+, written up to \S+, acknowledged up to [0-9A-F]+\/[0-9A-F]+; lag at least .+?; running for [^;\n]+\n.*){$n}/s, 5);
    }
    pass('SIGUSR1 prints a line each time');
    insert();
    my @lines = $c->read_until(qr/"id":$last_id,/);
    is(scalar(@lines), 3, 'and it goes on');
    committed($c);
    my $r = $c->stop('HUP', 5);
    $r->exited(0, 'SIGHUP without --file is the end');
    is($pg->slot('s')->{confirmed_flush_lsn}, saved('s')->{lsn}, 'in good order');
    # The server is away: it still answers.
    $c = streaming(start('s', 'pipe', '--retry-delay=5'));
    $pg->stop('immediate');
    $c->wait_stderr(qr/trying again/);
    $c->kill('USR1');
    $c->wait_stderr(qr/received up to/);
    $c->stop('HUP', 5)->exited(0, 'signals while the server is away');
    $pg->start;
}

# ---- SIGPIPE ----

for my $ignored (0, 1) {
    # A parent that ignores SIGPIPE hands that down.
    my @wrap = $ignored ? ('/bin/sh', '-c', q(trap '' PIPE; exec "$@"), 'sh') : ();
    my $c = Cdc->start(server => $pg, db => 'shop', wrap => \@wrap, args => args('s'));
    streaming($c);
    $c->close_stdout;
    insert();
    $c->wait(10)->signaled('PIPE', 'a closed pipe' . ($ignored ? ', SIGPIPE ignored by the parent' : ''));
}
my @again = ids(run('s', 'pipe')->out);
is(scalar(@again), 6, 'what nobody read comes again');

done_testing;
