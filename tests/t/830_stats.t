# Figures of a stream: --stats, the line on a terminal, SIGUSR1 whatever the run waits for.
use v5.36;
use CdcTest;
use Fcntl qw(O_RDWR O_NOCTTY);
use Time::HiRes qw(sleep time);

my $pg = PgServer->new;
$pg->create_db('shop');
$pg->sql('shop', 'CREATE TABLE t (id int PRIMARY KEY, name text)');
$pg->sql('shop', 'CREATE TABLE other (id int)');
my $dir = scratch();

sub start ($name, @more) {
    my %how = ref $more[0] ? %{ shift @more } : ();
    return Cdc->start(server => $pg, db => 'shop', %how,
        args => ['-S', $name, '-m', 'never', '-t', 't', '-e', 'plain', '--status-interval=0.5', '--state', "$dir/$name.json", @more]);
}
sub saved ($name) { return JSON::PP->new->decode(slurp("$dir/$name.json")) }

my $last_id = 0;
sub insert ($n) {
    my $first = $last_id + 1;
    $last_id += $n;
    $pg->sql('shop', "INSERT INTO t SELECT g, repeat('x', 200) FROM generate_series($first, $last_id) g");
}

# ---- --stats ----

my $lsn = qr{[0-9A-F]+/[0-9A-F]+};
my $line = qr{
    cdcdump:\ stream:\ events=(?<events>\d+)(?:\ events_per_second=(?<rate>\d+))?
    \ bytes=(?<bytes>\d+)(?:\ bytes_per_second=(?<bytes_rate>\d+))?
    (?:\ lag_bytes=(?<lag_bytes>\d+))?(?:\ lag_seconds=(?<lag_seconds>\d+\.\d{3}))?
    (?:\ wal_end_age_seconds=(?<age>\d+\.\d{3}))?
    \ received=(?<received>$lsn)\ written=(?<written>$lsn)\ acknowledged=(?<acknowledged>$lsn)
}x;

# The figures of every message so far.
sub told ($c) {
    return map { /\A$line\z/ ? {%+} : () } split /\n/, $c->stderr;
}

# Those of the first that is good, of those to come or, with $from, of the ones behind so many.
sub wait_told ($c, $what, $good, $from = undef) {
    $from //= scalar told($c);
    my $found;
    wait_until(sub {
        my @told = told($c);
        for my $t (@told[$from .. $#told]) { return $found = $t if $good->($t) }
        return 0;
    }, 20, $what);
    return $found;
}

start('s', '-E', 'now')->wait->exited(0, 'a slot');

my $c = start('s', '--stats=0.2');
wait_told($c, 'a first message', sub ($t) { 1 }, 0);
insert(100);
insert(7);
my $bytes = length join '', map { "$_\n" } $c->read_until(qr/"id":$last_id,/);
my $t = wait_told($c, 'all is acknowledged', sub ($t) { $t->{events} == 107 && defined $t->{lag_bytes} && $t->{lag_bytes} == 0 });
is($t->{bytes}, $bytes, '--stats: bytes are those of the output');
is($t->{lag_seconds}, '0.000', '... nothing is behind');
# The server writes WAL of its own now and then, and then all of them move.
wait_until(sub {
    my $saved = saved('s')->{lsn};
    return (told($c))[-1]{acknowledged} eq $saved && $pg->slot('s')->{confirmed_flush_lsn} eq $saved;
}, 10, 'what is told, the state file and the slot to agree');
pass('... acknowledged is what the state file says, and the slot');
cmp_ok(lsn_num($t->{received}), '>=', lsn_num($t->{written}), '... received is not behind written');
my @rates = grep { ($_->{rate} // 0) > 0 } told($c);
ok(@rates && $rates[-1]{bytes_rate} > 0, '... and rates were told');
my @counts = map { $_->{events} } told($c);
is("@counts", join(' ', sort { $a <=> $b } @counts), '... counts never go back');
is(scalar(() = $c->stderr =~ /^cdcdump: stream:/mg), scalar(told($c)), '... every message has that form');

# What is not captured moves the position all the same.
$pg->sql('shop', 'INSERT INTO other SELECT generate_series(1, 5000)');
my $end = lsn_num($pg->wal_lsn);
$t = wait_told($c, 'the WAL of others is passed', sub ($t) { lsn_num($t->{received}) >= $end && $t->{lag_bytes} == 0 });
is($t->{events}, 107, 'changes of other tables are no events');

# ---- the reader stands still ----

insert(20_000);
$end = lsn_num($pg->wal_lsn);
$t = wait_told($c, 'the lag is seen', sub ($t) {
    $t->{lag_seconds} >= 1 && $t->{lag_bytes} >= $end - lsn_num($t->{acknowledged});
});
cmp_ok(lsn_num($t->{acknowledged}), '<', $end, 'a reader that stands still: the lag goes to the end of the WAL');
cmp_ok(lsn_num($t->{received}), '<', $end, '... of which the server has not sent all');
my $later = wait_told($c, 'time passes', sub ($l) { $l->{lag_seconds} >= $t->{lag_seconds} + 0.5 });
cmp_ok($later->{age}, '<', 8, '... and the end is asked for again');
$c->kill('USR1');
my $text = $c->wait_stderr(qr/^cdcdump: \d+ records, .*$/m);
my ($said) = $text =~ /^(cdcdump: \d+ records, .*)$/m;
like($said, qr{\Acdcdump: \d+ records, \d+ bytes; received up to $lsn, written up to $lsn, acknowledged up to $lsn; lag \d+(?:\.\d)? [kM]B, \d+(?:\.\d)? s; }, 'SIGUSR1 then');
like($said, qr/; the output has taken nothing for \d+(?:\.\d)? s\z/, '... says what it waits for');
$c->read_until(qr/"id":$last_id,/);
$t = wait_told($c, 'it catches up', sub ($t) { $t->{events} == 20_107 && $t->{lag_bytes} == 0 });
is($t->{lag_seconds}, '0.000', 'and then nothing is behind');
is($t->{bytes}, length $c->out, '... and all bytes are counted');
my $r = $c->stop;
$r->exited(0, 'the end');
unlike($r->err, qr/snapshot:/, 'no snapshot, no figures of one');

# ---- the connection is given up meanwhile, and a retry is waited for ----

insert(20_000);
$c = start('s', '--stats=0.2', '--stall-timeout=0.5');
$c->wait_stderr(qr/giving up the connection until it does/);
my $n = told($c);
wait_told($c, 'figures while it is not connected', sub ($t) { lsn_num($t->{received}) && $t->{lag_seconds} >= 1 }, $n);
wait_until(sub { $c->kill('USR1'); $c->stderr =~ /; not streaming; the output has taken nothing for/ }, 10, 'what it waits for');
$c->read_until(qr/"id":$last_id,/);
$t = wait_told($c, 'it catches up', sub ($t) { $t->{events} == 20_000 && ($t->{lag_bytes} // 1) == 0 });
is($t->{bytes}, length $c->out, 'after a reconnect: bytes, each once');
$c->kill('USR1');
$c->wait_stderr(qr/; running for [^;]*, \d+ reconnects?$/m);
pass('SIGUSR1 counts reconnects');
$pg->stop('immediate');
$c->wait_stderr(qr/trying again/);
$n = told($c);
$t = wait_told($c, 'figures while the server is away', sub ($t) { 1 }, $n);
is($t->{events}, 20_000, 'the server is away: the counts stay');
ok(lsn_num($t->{received}) >= lsn_num($t->{acknowledged}), '... and the position');
$c->stop->exited(0, 'the end');
$pg->start;

# ---- the end waits for the reader; --exec ----

insert(3);
$c = start('s', '-E', 'now');
$c->wait_handler('USR1');
wait_until(sub { $c->kill('USR1'); $c->stderr =~ /^cdcdump: 3 records, /m }, 10, 'an answer at the end');
$c->read_until(qr/"id":$last_id,/);
$c->wait->exited(0, 'SIGUSR1 while the end waits for the reader');

insert(3);
my $gate = "$dir/gate";
$c = start('s', {stdout => 'null'}, '-E', 'now', '--exec', "while [ ! -e '$gate' ]; do sleep 0.05; done; cat >'$dir/batch'");
$c->wait_handler('USR1');
wait_until(sub { $c->kill('USR1'); $c->stderr =~ /^cdcdump: 3 records, /m }, 10, 'an answer within --exec');
spew($gate, '');
$c->wait->exited(0, 'SIGUSR1 while a command runs');
is(scalar(records(slurp("$dir/batch"))), 3, '... which has got all');

# ---- rows, then changes ----

$c = Cdc->start(server => $pg, db => 'shop', args => ['-S', 'rows', '-t', 't', '-e', 'plain', '--stats=0.2']);
$c->wait_stderr(qr/^cdcdump: snapshot: table=public\.t rows=\d+/m);
unlike($c->stderr, qr/stream:/, 'while rows are read the figures are those of rows');
$c->kill('USR1');
$c->wait_stderr(qr/; snapshot: [\d,]+ rows read, \d+%, at public\.t; running for/);
pass('SIGUSR1 in a snapshot');
$c->read_until(qr/"id":$last_id,/);
insert(1);
$c->read_until(qr/"id":$last_id,/);
$t = wait_told($c, 'then those of the stream', sub ($t) { $t->{events} == $last_id }, 0);
is($t->{bytes}, length $c->out, 'rows and changes: all bytes are counted');

# The session that asks for the end of the WAL is nothing that the run depends on.
my $asker = q(FROM pg_stat_activity WHERE query LIKE 'SELECT CASE%pg_current_wal_flush_lsn() END AS lsn' AND pid <> pg_backend_pid());
$pg->wait_for(sub { $pg->sql('shop', "SELECT count(*) $asker") eq '1' }, 10, 'the session that asks');
is($pg->sql('shop', "SELECT count(pg_terminate_backend(pid)) $asker"), 1, 'the session that asks is ended');
insert(1);
$c->read_until(qr/"id":$last_id,/);
wait_told($c, 'figures go on', sub ($t) { $t->{events} == $last_id && $t->{lag_bytes} == 0 }, 0);
unlike($c->stderr, qr/error|warning/, '... and the run does, without a complaint');
$c->stop->exited(0, 'the end');
$pg->sql('shop', q(SELECT pg_drop_replication_slot('rows')));

# ---- quiet ----

$c = start('s', '--stats=0.1', '-q');
insert(1);
$c->read_until(qr/"id":$last_id,/);
$c->wait_stderr(qr/^cdcdump: stream: events=[1-9]/m);
$c->kill('USR1');
$c->wait_stderr(qr/^cdcdump: \d+ records, /m);
$r = $c->stop;
is($r->err =~ s/^cdcdump: (?:stream: events=|\d+ records, ).*\n//mgr, '', '-q: the figures that were asked for, and nothing else');

# ---- a terminal ----

# A pseudo-terminal of 60 columns: its master's handle and the name of the other side.
sub terminal () {
    use constant { TIOCSPTLCK => 0x40045431, TIOCGPTN => 0x80045430, TIOCSWINSZ => 0x5414 };
    sysopen my $master, '/dev/ptmx', O_RDWR | O_NOCTTY or return;
    my ($unlock, $number) = (pack('i', 0), pack('I', 0));
    ioctl $master, TIOCSPTLCK, $unlock or return;
    ioctl $master, TIOCGPTN, $number or return;
    my $size = pack 'S4', 24, 60, 0, 0;
    ioctl $master, TIOCSWINSZ, $size or return;
    return ($master, '/dev/pts/' . unpack 'I', $number);
}

# What has been written to it, with what has been before.
my $screen = '';
sub screen ($master, $regex) {
    my $deadline = time + 20;
    while ($screen !~ $regex) {
        my $ready = '';
        vec($ready, fileno $master, 1) = 1;
        select $ready, undef, undef, 0.2;
        sysread $master, $screen, 65536, length $screen if vec $ready, fileno $master, 1;
        die "no $regex on the terminal:\n$screen\n" if time > $deadline;
    }
    return $screen;
}

SKIP: {
    my ($master, $name) = terminal();
    skip_without(defined $name, 'no pseudo-terminals', 6);
    my @wrap = ('/bin/sh', '-c', qq(exec "\$@" 2>'$name'), 'sh');
    my $shape = qr{stream: (?:[\d,]+ events/s  \d+(?:\.\d)? k?B/s  )?lag \d+(?:\.\d)? k?B, \d+(?:\.\d)? s  at $lsn};

    $c = start('s', {wrap => \@wrap});
    screen($master, qr/\r$shape\e\[K/);
    insert(50);
    $c->read_until(qr/"id":$last_id,/);
    screen($master, qr{\rstream: [\d,]+ events/s  });
    pass('a line on a terminal, with rates when something comes');
    screen($master, qr{\rstream: (?:[^\r]*  )?lag 0 B, 0\.0 s  at $lsn\e\[K(?!.*events/s)}s);
    pass('... until nothing is behind');
    $c->kill('USR1');
    screen($master, qr/\r\e\[Kcdcdump: 50 records, [^\n]*\n\r?$shape|\r\e\[Kcdcdump: 50 records, [^\n]*\n(?s:.*?)\r$shape/);
    pass('a message erases it, and it comes back');
    $c->stop->exited(0, 'the end');
    screen($master, qr/\r\e\[K\z/);
    my @shown = $screen =~ /\r([^\r\n]*?)\e\[K/g;
    is(scalar(grep { length($_) > 59 || ($_ ne '' && !/\A$shape\z/) } @shown), 0, 'every line has its form and fits') or diag(explain(\@shown));

    # Records on the same terminal would run into it.
    $screen = '';
    $c = start('s', {wrap => ['/bin/sh', '-c', qq(exec "\$@" >'$name' 2>&1), 'sh']}, '-v', '--max-time=1');
    insert(1);
    screen($master, qr/"id":$last_id,/);
    $c->wait->exited(0, 'the end');
    unlike($screen, qr/stream: /, 'no line where records go to the same terminal');
    $screen = '';
    $c = start('s', {wrap => \@wrap}, '-v', '--log-format=json', '--max-time=1');
    $c->wait->exited(0, 'the end');
    unlike($screen, qr/\e/, 'nor with --log-format=json');
}

done_testing;
