# contrib/: the crontab line and what it makes of each exit status, the unit, log rotation, the sample
# configuration.
use v5.36;
use utf8;
use CdcTest;

my $contrib = "$Cdc::TOP/contrib";
my $hours = 6;

# A program that does as it is told, and counts how often it is called.
my $fake = scratch();
spew("$fake/cdcdump", <<'SH');
#!/bin/sh
echo "$*" >> calls
status=$(cat status)
[ "$status" = 0 ] || echo "cdcdump: error: reason $status" >&2
[ ! -e next ] || mv next status
[ "$status" != KILL ] || kill -9 $$
exit "$status"
SH
chmod 0755, "$fake/cdcdump";
symlink "$contrib/cdcdump-cron", "$fake/cdcdump-cron";

# ---- what each exit status leads to ----

my $work = scratch();

# One run, with the status of cdcdump: what would be mailed.
sub cron ($status, %how) {
    spew("$work/status", $status);
    spew("$work/next", $how{next}) if defined $how{next};
    my $r = CdcTest::Process->capture(argv => ['cdcdump-cron', $how{file} // 'out.csv', qw(-d shop -S s --state s.json)], cwd => $work,
        env => { PATH => "$fake:$ENV{PATH}", CDCDUMP => undef, HOURS => undef });
    my $expected = $status eq 'KILL' ? 137 : $how{next} // $status;
    is($r->{exit}, $expected, "status $expected is handed on");
    is($r->{err}, '', '… with nothing on standard error');
    return $r->{out};
}

# As if what FILE.failing says had been so many hours before.
sub later ($n) {
    my ($since, $said, $status) = split ' ', slurp("$work/out.csv.failed");
    spew("$work/out.csv.failed", join(' ', $since - $n * 3600, $said && $said - $n * 3600, $status) . "\n");
}

is(cron(0), '', '0: nothing is said');
ok(!-e "$work/out.csv.failed", '… and nothing noted');
is(slurp("$work/calls"), "-d shop -S s --state s.json -q -f out.csv -E now\n", '… of a run up to now, into the file');

for my $status (1, 2, 4, 5, 'KILL') {
    like(cron($status), qr/\Acdcdump: error: reason $status\n.*ended with status/s, "$status: said at once");
    is(cron($status), '', '… and not again');
    later($hours);
    like(cron($status), qr/reason $status\n.*not succeeded since/s, "… before $hours hours have gone by");
    is(cron($status), '', '… and again not');
}
like(cron(4), qr/reason 4/, 'another status is said');
like(cron(2), qr/reason 2/, '… and another');
is(cron(0), '', 'success is not');
like(cron(2), qr/reason 2/, 'the next failure is');
cron(0);

is(cron(3), '', '3: nothing is said');
later($hours - 1);
is(cron(3), '', "… for $hours hours");
later(1);
like(cron(3), qr/reason 3\n.*not succeeded since/s, '… then it is');
is(cron(3), '', '… once');
later($hours);
like(cron(3), qr/reason 3/, '… and once more');
is(cron(0), '', '… until it is over');
is(cron(3), '', '… and begins again');
cron(0);

spew("$work/calls", '');
spew("$work/out.csv", "old\n");
is(cron(6, next => 0), '', '6: nothing is said');
is(scalar(split /\n/, slurp("$work/calls")), 2, '… and it is run again');
my @old = glob "$work/out.csv.*";
is(scalar(@old), 1, '… after the file has been moved away') or diag("@old");
is(slurp($old[0]), "old\n", '… as it is');
is(slurp("$work/out.csv"), '', '… for an empty one');
like(cron(6, next => 6), qr/reason 6/, '6 again and again is said');
for my $note ('', "garbage\n", "1 2 3 4\n", "-1 x\n") {
    spew("$work/out.csv.failed", $note);
    like(cron(2), qr/reason 2/, 'a note without sense is none: ' . $note =~ s/\n//r);
}
cron(0);
spew("$work/calls", '');
is(cron(3, file => 'a/{table}.csv'), '', 'files per table');
like(slurp("$work/calls"), qr/ -f a\/\{table\}\.csv /, '… are named as they are');
is_deeply([glob "$work/*.failed"], ["$work/a__table_.csv.failed"], '… and the note lies here');
is(CdcTest::Process->capture(argv => ["$contrib/cdcdump-cron", 'x'])->{exit}, 2, 'without options: a mistake');

# ---- the line of the crontab, for real ----

my ($line, @more) = grep { /^[^#\s]+ \S+ \S+ \S+ \S+ / } split /\n/, slurp("$contrib/cdcdump.cron");
is(scalar(@more), 0, 'the crontab has one line');
my ($times, $user, $command) = $line =~ m{^((?:[\d*/,-]+ ){5})([a-z]+) (.+)\z} or BAIL_OUT("crontab: $line");
unlike($command, qr/%/, '… without what cron would take for a newline');
my ($path) = slurp("$contrib/cdcdump.cron") =~ /^PATH=(\S+)$/m;
like($path, qr{/usr/local/bin}, '… and a PATH that has the script');
my $folder = scratch();
ok($command =~ s{^cd /var/lib/postgresql/export }{cd $folder }, '… in a folder of its own');

my $pg = PgServer->new(tcp => 0);
$pg->create_db('shop');
$pg->sql('shop', "CREATE TABLE orders (id int PRIMARY KEY, item text); INSERT INTO orders VALUES (1, 'one')");
my $bin = scratch();
symlink $Cdc::BINARY, "$bin/cdcdump";
symlink "$contrib/cdcdump-cron", "$bin/cdcdump-cron";
my %env = (%{ $pg->env }, PATH => "$bin:$ENV{PATH}", CDCDUMP => undef, HOURS => undef, ASAN_OPTIONS => 'detect_leaks=0');

sub real ($text) {
    return CdcTest::Process->capture(argv => ['/bin/sh', '-c', $text], env => \%env, cwd => $folder);
}

sub said ($r) { return "$r->{exit}: $r->{out}$r->{err}" }

sub ops ($file) { return join '', map { /"op":"(\w)"/ } split /\n/, slurp("$folder/$file") }

is(said(real($command)), '0: ', 'the first time');
is(ops('orders.ndjson'), 'r', '… gives the rows');
$pg->sql('shop', "INSERT INTO orders VALUES (2, 'two'); DELETE FROM orders WHERE id = 1");
is(said(real($command)), '0: ', 'the second time');
is(ops('orders.ndjson'), 'rcd', '… the changes');

my ($options) = $command =~ /cdcdump-cron \S+ (.*)/;
my $busy = Cdc->start(args => [split(' ', $options), '-v', '-f', "$folder/orders.ndjson"], cwd => $folder, env => { %{ $pg->env } });
$busy->wait_stderr(qr/streaming from/);
is(said(real($command)), '3: ', 'while another run goes on: 3, and nothing is said');
later_real('orders.ndjson', $hours);
like(said(real($command)), qr/\A3: cdcdump: error: .*(?:in use|lock).*\n.*not succeeded since/s, "… but when that lasts for $hours hours");
$busy->stop->exited(0, '… which is not disturbed');
$pg->sql('shop', "INSERT INTO orders VALUES (3, 'three')");
is(said(real($command)), '0: ', '… then it goes on');
is(ops('orders.ndjson'), 'rcdc', '… and each change is there once');
ok(!-e "$folder/orders.ndjson.failed", '… without a note');

sub later_real ($file, $n) {
    my ($since, $said, $status) = split ' ', slurp("$folder/$file.failed");
    spew("$folder/$file.failed", $since - $n * 3600 . " $said $status\n");
}

my $csv = 'cdcdump-cron sheet.csv -d shop -S sheet -t orders --state sheet.json -F csv --changelog-mode=upsert';
is(said(real($csv)), '0: ', 'as CSV');
$pg->sql('shop', 'ALTER TABLE orders ADD COLUMN price numeric');
$pg->sql('shop', "INSERT INTO orders VALUES (4, 'four', 4.5)");
is(said(real($csv)), '0: ', 'with a column more: nothing is said');
my ($before) = glob "$folder/sheet.csv.2*";
is(scalar(split /\n/, slurp($before)), 3, '… one file has the header and two rows');
like(slurp($before), qr/\A\S+,id,item,_unchanged\n/, '… without it');
like(slurp("$folder/sheet.csv"), qr/\A\S+,id,item,price,_unchanged\n\+I,.*,4,four,4\.5,\n\z/, '… the other has it');

$pg->sql('shop', q(SELECT pg_drop_replication_slot('sheet')));
like(said(real($csv)), qr/\A4: cdcdump: error: .*\n.*are lost/s, 'a slot that is gone: 4, said at once');
is(said(real($csv)), '4: ', '… once');
$env{PGHOST} = "$folder/nowhere";
is(said(real('cdcdump-cron far.ndjson -d shop -S far --state far.json --retries=0')), '3: ', 'a server that is away: 3, and nothing is said');
$env{PGHOST} = $pg->sockdir;
is(said(real("mkdir full; ln -s /dev/full full/out; cdcdump-cron out.csv -d shop -S s -m bad --state x.json")) =~ /\A2: .*has to be changed/s, 1, 'a mistake: 2, said at once');

# ---- the unit ----

my $unit = slurp("$contrib/cdcdump\@.service");
my %unit;
push @{ $unit{$1} }, $2 while $unit =~ /^(\w+)=(.*)$/mg;
SKIP: {
    skip_without(CdcTest::Process::find_program('systemd-analyze'), 'no systemd-analyze here', 3);
    my $units = scratch();
    my $verify = sub ($text) {
        spew("$units/cdcdump\@.service", $text =~ s{/usr/bin/cdcdump}{$bin/cdcdump}r);
        return CdcTest::Process->capture(argv => ['systemd-analyze', '--man=no', 'verify', "$units/cdcdump\@.service"]);
    };
    my $r = $verify->($unit);
    is("$r->{exit} $r->{err}", '0 ', 'the unit: systemd has nothing to say');
    isnt($verify->($unit =~ s/RestartSec/RestartTime/r)->{err}, '', '… which it would');
    spew("$units/cdcdump\@shop.service", $unit =~ s{/usr/bin/cdcdump}{$bin/cdcdump}r);
    my $exposure = CdcTest::Process->capture(argv => ['systemd-analyze', 'security', '--offline=yes', '--threshold=25', "$units/cdcdump\@shop.service"]);
    is($exposure->{exit}, 0, '… nor about what it may do') or diag(($exposure->{out} =~ /.*Overall.*/)[0] // $exposure->{err});
}
is("@{ $unit{Restart} } but @{ $unit{RestartPreventExitStatus} }", 'on-failure but 2 4 243', 'not started again when a person has to act, else it is');
is("@{ $unit{StartLimitIntervalSec} }", 0, '… as often as it takes');
is("@{ $unit{WantedBy} }", 'multi-user.target', '… and at boot');

# Its commands, as systemd would run them: ${NAME} and words $NAME are replaced, $$ is $, %% is %.
my $state = scratch();
symlink "$contrib/cdcdump.conf", "$state/config";
my ($output) = map { /^CDCDUMP_OUTPUT=(.*)/ } @{ $unit{Environment} };
my %variables = (CREDENTIALS_DIRECTORY => $state, CDCDUMP_OUTPUT => $output);

sub unit_command ($text) {
    $text =~ s/(?<!\$)\$\{(\w+)\}/$variables{$1}/g;
    return $text =~ s/\$\$/\$/gr =~ s/%%/%/gr;
}
my ($stop_post) = unit_command($unit{ExecStopPost}[0]) =~ m{^/bin/sh -c '(.*)'\z} or BAIL_OUT('ExecStopPost');

sub stopped ($status) {
    my $r = CdcTest::Process->capture(argv => ['/bin/sh', '-c', $stop_post], cwd => $state, env => { EXIT_STATUS => $status, CDCDUMP_OUTPUT => $output });
    is("$r->{exit} $r->{err}", '0 ', "ExecStopPost after $status");
    return join ' ', map { s{.*/}{}r =~ s/\d+\z/TIME/r } sort glob "$state/changes*";
}
spew("$state/changes.ndjson", 'x');
is(stopped($_), 'changes.ndjson', '… moves nothing') for 0, 3, 5, 'TERM';
is(stopped(6), 'changes.ndjson changes.ndjson.TIME', '… begins another file');
is(slurp("$state/changes.ndjson"), '', '… which is empty');
unlink glob "$state/changes*";

$pg->sql('shop', 'CREATE TABLE products (id int PRIMARY KEY); CREATE TABLE documents (id int PRIMARY KEY); INSERT INTO products VALUES (1); INSERT INTO documents VALUES (1)');
my $start = unit_command($unit{ExecStart}[0]) =~ s/\$CDCDUMP_OUTPUT/$output/r;
my @words = split ' ', $start;
is(shift @words, '/usr/bin/cdcdump', 'ExecStart runs cdcdump');
# the sample names the socket directory that PostgreSQL has on Debian
spew("$state/sample.conf", slurp("$contrib/cdcdump.conf") =~ s{^(dbname=host=)\S+ }{$1 . $pg->sockdir . ' port=' . $pg->port . ' user=postgres '}mer);
unlink "$state/config";
rename "$state/sample.conf", "$state/config";
my $c = Cdc->start(args => [@words, '-v'], cwd => $state);
$c->wait_stderr(qr/streaming from/);
$pg->sql('shop', 'INSERT INTO orders VALUES (9); INSERT INTO products VALUES (2)');
$c->wait_written($pg->wal_lsn);
sub tables ($file) { return join ' ', map { /"table":"(\w+)"/ } split /\n/, slurp("$state/$file") }
is(tables('changes.ndjson'), 'documents products products', 'with the sample it captures what that says');

# ---- log rotation ----

SKIP: {
    skip_without(CdcTest::Process::find_program('logrotate'), 'no logrotate here', 4);
    spew("$bin/systemctl", "#!/bin/sh\necho \"\$*\" >'$state/asked'\nkill -HUP " . $c->pid . "\n");
    chmod 0755, "$bin/systemctl";
    spew("$state/rotate.conf", slurp("$contrib/cdcdump.logrotate") =~ s{^/var/lib/cdcdump/\*/}{$state/}mr);
    chmod 0600, "$state/rotate.conf";
    my $r = CdcTest::Process->capture(argv => ['logrotate', '-f', '-s', "$state/rotated", "$state/rotate.conf"], env => \%env);
    is("$r->{exit} $r->{err}", '0 ', 'logrotate takes the sample');
    is(slurp("$state/asked"), "kill --signal=HUP --kill-who=main cdcdump\@*.service\n", '… and has the units told');
    wait_until(sub { $pg->sql('shop', 'INSERT INTO products SELECT max(id) + 1 FROM products'); -s "$state/changes.ndjson" }, 20, 'another file');
    my $many = $pg->sql('shop', 'SELECT count(*) FROM products');
    $c->wait_written($pg->wal_lsn);
    is(scalar(() = (tables('changes.ndjson.1') . ' ' . tables('changes.ndjson')) =~ /products/g), $many, '… every change is in the old file or in the new');
    ok(!-e "$state/changes.ndjson.1.gz", '… and the old one is not compressed while it may be written to');
}
my $r = $c->stop('TERM');
$r->exited(0, 'SIGTERM, as the unit sends it: status 0');

done_testing;
