# --log-format=json: a line of JSON for every message, with its details and hints; nothing is lost,
# however the run ends.
use v5.36;
use utf8;
use CdcTest;

my $pg = PgServer->new;
$pg->create_db('shop');
$pg->sql('shop', 'CREATE TABLE t (id int PRIMARY KEY, name text)');
my $dir = scratch();

my @members = qw(ts level message detail hint sqlstate stats);

# The messages of a text; a test that they are what they should be.
sub messages ($text, $name) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my (@messages, @bad);
    push @bad, 'no line end at the end' if length $text && $text !~ /\n\z/;
    for my $line (split /\n/, $text) {
        my $m = eval { JSON::PP->new->utf8->decode($line) };
        push @bad, "no JSON: $line" if !$m || ref $m ne 'HASH';
        next if !$m;
        my ($ts, $level, $message) = delete @$m{qw(ts level message)};
        push @bad, "ts: $line" if ($ts // '') !~ /\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\z/;
        push @bad, "level: $line" if ($level // '') !~ /\A(?:error|warning|info|debug)\z/;
        push @bad, "message: $line" if !length($message // '');
        push @bad, "control characters: $line" if $line =~ /[\x00-\x1f\x7f]/;
        push @bad, "an empty member: $line" if grep { !length } map { $m->{$_} // '' } grep { $_ ne 'stats' } keys %$m;
        my %known = map { $_ => 1 } @members;
        push @bad, "members: $line" if grep { !$known{$_} } keys %$m;
        push @bad, "sqlstate: $line" if exists $m->{sqlstate} && $m->{sqlstate} !~ /\A[0-9A-Z]{5}\z/;
        push @bad, "stats: $line" if exists $m->{stats} && ref $m->{stats} ne 'HASH';
        push @messages, {%$m, level => $level, message => $message};
    }
    is(join("\n", @bad), '', "$name: every line is a message");
    return @messages;
}

# The same run with messages as text: what it says, without the figures and times that differ.
sub as_text (@messages) {
    my %prefix = (error => 'error: ', warning => 'warning: ', info => '', debug => '');
    return join '', map {
        my $m = $_;
        "cdcdump: $prefix{$m->{level}}$m->{message}\n"
            . join('', map { my ($n, $p) = @$_; map { "$p:  $_\n" } split /\n/, $m->{$n} // '' } ['detail', 'DETAIL'], ['hint', 'HINT'])
    } @messages;
}

# ---- a stream, with everything ----

sub start (@more) {
    my %how = ref $more[0] ? %{ shift @more } : ();
    return Cdc->start(server => $pg, db => 'shop', %how, args => [qw(-S s -m never -e plain --log-format=json), '--state', "$dir/s.json", @more]);
}

start('-E', 'now')->wait->exited(0, 'a slot');
my $c = start('-v', '--stats=0.2', '--retry-delay=0.2', '--status-interval=0.5');
$c->wait_stderr(qr/"message":"streaming from/);
pass('a message does not wait for the next one');
$pg->sql('shop', q(INSERT INTO t SELECT g, 'x' FROM generate_series(1, 50) g));
$c->read_lines(50);
$c->wait_stderr(qr/"message":"stream: events=50 [^\n]*"lag_bytes":0,/);
$c->kill('USR1');
$c->wait_stderr(qr/"message":"50 records, /);
$pg->terminate_slot_user('s');
$c->wait_stderr(qr/"sqlstate":"57P01"/);
$c->wait_stderr(qr/trying again.*"message":"streaming from/s);
my $r = $c->stop;
$r->exited(0, 'the end');
my @said = messages($r->err, '-v');
my ($stats) = grep { $_->{message} =~ /\Astream: events=50 .*lag_bytes=0 / } @said;
my %figures = $stats->{message} =~ /(\w+)=(\S+)/g;
is_deeply([sort keys %{ $stats->{stats} }], [sort keys %figures], '--stats: the figures are members, too');
is(scalar(grep { $figures{$_} =~ /\// ? $figures{$_} ne $stats->{stats}{$_} : $figures{$_} != $stats->{stats}{$_} } keys %figures), 0, '... with the same values');
is($stats->{stats}{events}, 50, '... as numbers');
is($stats->{stats}{bytes}, length $r->out, '... of all that was written');
like($stats->{stats}{acknowledged}, qr{\A[0-9A-F]+/[0-9A-F]+\z}, '... and positions as PostgreSQL writes them');
my ($report) = grep { $_->{message} =~ /\A50 records, / } @said;
is_deeply([@{ $report->{stats} }{qw(events transactions reconnects dead_letters)}], [50, 1, 0, 0], 'SIGUSR1: likewise');
my ($lost) = grep { $_->{sqlstate} } @said;
is_deeply([@$lost{qw(level message sqlstate)}],
    ['error', 'could not read the stream: terminating connection due to administrator command', '57P01'], 'what the server gave: its code');
is_deeply([sort keys %{{ map { $_->{level} => 1 } @said }}], [qw(debug error info)], 'levels');

# ---- the same words as in text, details and hints with their message ----

for (
    ['a slot that is not there', 3, [qw(-S nothing -m committed-offset)], 'hint'],
    ['an option that the plugin refuses', 2, [qw(-S refused -m never -E now -o proto_version=99)], undef],
    ['an identity that flink cannot do with', 2, [qw(-S flink -m never -E now -e flink)], 'detail', 'hint'],
    ['no such database', 2, [qw(-S x -m never), 'dbname=nowhere'], undef],
    ['no such table', 2, [qw(-S x -m never -t nothing_like_it)], undef],
) {
    my ($what, $status, $args, @with) = @$_;
    my ($db) = map { /\Adbname=(.+)/ ? $1 : () } @$args;
    $args = [grep { !/\Adbname=/ } @$args];
    my %how = (server => $pg, db => $db // 'shop', timeout => 20);
    Cdc->run(%how, args => $args) if @with > 1;    # what it makes at first is there then
    my $text = Cdc->run(%how, args => $args);
    my $json = Cdc->run(%how, args => [@$args, '--log-format=json']);
    is($json->exit, $text->exit, "$what: the same status") or diag($text->err, $json->err);
    ok($text->exit, "$what: is refused");
    my @messages = messages($json->err, $what);
    is(as_text(@messages), $text->err, "$what: the same words");
    for my $member (grep { defined } @with) {
        is(scalar(grep { $_->{level} eq 'error' && length($_->{$member} // '') } @messages), 1, "$what: a $member with its message");
    }
}

# Options that are wrong.
$r = Cdc->run(args => [qw(--log-format=json -S s --ack-mode=reply)]);
$r->exited(2, 'options that do not go together');
like($r->err, qr/"level":"error"/, '... in JSON, as the option came first') and messages($r->err, 'options');
$r = Cdc->run(args => [qw(-S s --log-format=json -m nonsense)]);
$r->exited(2, 'a value that is wrong');

# ---- bytes ----

# Control characters, quotes, and a name that is no UTF-8.
utf8::encode(my $bytes = "a\"b\\c\td\x7fe");
$bytes .= "\xff\xc2\x85\xed\xa0\x80\xf0\x9f\x98\x80";
$r = Cdc->run(server => $pg, db => 'shop', args => [qw(-S s -m never -E now --log-format=json --state), "$dir/$bytes/s.json"]);
$r->exited($r->exit, 'a folder of an odd name that is not there');
my ($m) = messages($r->err, 'odd bytes');
is(index($m->{message}, qq(a"b\\c\td\x7fe\x{fffd}\x{85}\x{fffd}\x{fffd}\x{fffd}\x{1f600})) >= 0, 1, '... is told, invalid bytes replaced') or diag($r->err);
like($r->err, qr/a\\"b\\\\c\\u0009d\\u007fe\xef\xbf\xbd\\u0085/, '... the rest escaped');

# ---- ends ----

my $shown = sub ($c, $name) {
    my @messages = messages($c->err, $name);
    return $messages[-1] // {message => ''};
};

# The last message is an error with nothing behind it.
$pg->sql('shop', q(INSERT INTO t SELECT g, repeat('x', 500) FROM generate_series(1001, 1100) g));
$r = start({stdout => '>/dev/full'}, '-E', 'now')->wait;
$r->exited(5, 'a full disk');
like($shown->($r, 'a full disk')->{message}, qr/\Acould not write .*: No space left on device\z/, '... is said');

$c = start('-v');
$c->wait_stderr(qr/"streaming from/);
$c->close_stdout;
$pg->sql('shop', q(INSERT INTO t VALUES (2001, 'y')));
$r = $c->wait;
$r->signaled('PIPE', 'a closed pipe');
like($shown->($r, 'a closed pipe')->{message}, qr/streaming from/, '... and the last message is there');

# A lost connection, and the end while it waits for the next try.
$c = start('--retry-delay=30');
$c->read_lines(1);
$pg->stop('immediate');
$c->wait_stderr(qr/"message":"trying again in 30 seconds"/);
$r = $c->stop;
$r->exited(0, 'stopped while the server is away');
messages($r->err, 'the server is away');
$pg->start;

# What -q leaves.
$c = start('-q', '--stats=0.1', '-E', 'now');
$r = $c->wait;
is($r->err =~ s/^\{"ts":"[^"]*","level":"info","message":"(?:stream|snapshot): .*\n//mgr, '', '-q: nothing but the figures that were asked for');

# A batch's command has the same standard error.
$pg->sql('shop', q(INSERT INTO t VALUES (3001, 'y')));
$r = Cdc->run(server => $pg, db => 'shop',
    args => [qw(-S s -m never -e plain -E now --log-format=json -v --exec-retries=1 --retry-delay=0.1 --exec), q(cat >/dev/null; echo '{"command":1}' >&2; exit 3)]);
$r->exited(5, 'a command that fails');
my @lines = split /\n/, $r->err;
my @own = grep { !/"command"/ } @lines;
cmp_ok(scalar(@lines), '>', scalar(@own), '... and writes lines of its own');
my ($failed) = grep { /"level":"error"/ } @own;
messages(join('', map { "$_\n" } @own), 'beside a command');
ok($failed, '... is an error');

done_testing;
