# --metrics-file: Prometheus' text format, read by a strict parser; whole at any moment; failures.
use v5.36;
use CdcTest;
use Time::HiRes qw(sleep time);

my $pg = PgServer->new;
my $database = q(my "odd" db \ x);
$pg->sql('postgres', qq(CREATE DATABASE "my ""odd"" db \\ x"));
$pg->sql($database, 'CREATE TABLE t (id int PRIMARY KEY, name text)');
my $dir = scratch();
my $file = "$dir/shop.prom";

sub start (@more) {
    my %how = ref $more[0] ? %{ shift @more } : ();
    return Cdc->start(server => $pg, db => $database, %how,
        args => [qw(-S s -e plain --stats=0.1 -q), '--state', "$dir/s.json", '--metrics-file', $file, @more]);
}

my $last_id = 0;
sub insert ($n = 1) {
    my $first = $last_id + 1;
    $last_id += $n;
    $pg->sql($database, "INSERT INTO t SELECT g, repeat('x', 200) FROM generate_series($first, $last_id) g");
}

# ---- the format: https://prometheus.io/docs/instrumenting/exposition_formats/ ----

# name => {type, help, value, labels}; dies of whatever is not as it should be.  Every metric has one
# sample here, behind its HELP and TYPE.
sub metrics ($text) {
    my (%m, $open);
    die "no line end at the end\n" unless $text =~ /\n\z/;
    for my $line (split /\n/, $text) {
        if ($line =~ /\A# HELP ([a-z_]+) (\S[^\\]*)\z/) {
            die "$1 comes twice\n" if $m{$1};
            die "$open has no sample\n" if defined $open;
            $m{ $open = $1 } = {help => $2};
        } elsif ($line =~ /\A# TYPE ([a-z_]+) (counter|gauge)\z/) {
            die "TYPE of $1 is out of place\n" unless ($open // '') eq $1 && !$m{$1}{type};
            $m{$1}{type} = $2;
        } elsif ($line =~ /\A([a-z_]+)\{(.*)\} (-?\d+(?:\.\d+)?)\z/) {
            my ($name, $labels, $value) = ($1, $2, $3);
            die "$name is out of place\n" unless ($open // '') eq $name && $m{$name}{type};
            @{ $m{$name} }{qw(value labels)} = ($value, labels($labels));
            undef $open;
        } else {
            die "what is \"$line\"?\n";
        }
    }
    die "$open has no sample\n" if defined $open;
    for my $name (keys %m) {
        die "$name: name\n" unless $name =~ /\Acdcdump_/;
        die "$name: a counter ends in _total\n" if ($name =~ /_total\z/) != ($m{$name}{type} eq 'counter');
    }
    return \%m;
}

sub labels ($text) {
    my %labels;
    while ($text =~ /\G([a-z_]+)="((?:[^"\\\n]|\\[\\"n])*)"(,(?=.)|\z)/gc) {
        my ($name, $value) = ($1, $2);
        die "label $name comes twice\n" if exists $labels{$name};
        $labels{$name} = $value =~ s/\\(.)/$1 eq 'n' ? "\n" : $1/ger;
    }
    die "labels: $text\n" if (pos($text) // 0) < length $text;
    return \%labels;
}

throws(sub { metrics($_->[0]) }, $_->[1], "the parser refuses: $_->[2]") for
    [qq(# HELP cdcdump_a x\n# TYPE cdcdump_a gauge\ncdcdump_a{} 1), qr/line end/, 'a torn end'],
    [qq(cdcdump_a{} 1\n), qr/out of place/, 'a sample without a TYPE'],
    [qq(# HELP cdcdump_a x\n# TYPE cdcdump_a counter\ncdcdump_a{} 1\n), qr/_total/, 'a counter by another name'],
    [qq(# HELP cdcdump_a x\n# TYPE cdcdump_a gauge\ncdcdump_a{b="c"d"} 1\n), qr/labels/, 'a label that is not escaped'],
    [qq(# HELP cdcdump_a x\n# TYPE cdcdump_a gauge\ncdcdump_a{} 1\n) x 2, qr/twice/, 'the same once more'];

sub now () { return metrics(slurp($file)) }

# The metrics as soon as they are good.
sub wait_metrics ($what, $good) {
    my $m;
    wait_until(sub { return 0 unless -e $file; $m = now(); return $good->($m) }, 20, $what);
    return $m;
}
sub value ($m, $name) { return $m->{"cdcdump_$name"}{value} }

# ---- a run ----

insert(1000);
my $began = time;
my $c = start();
my $m = wait_metrics('rows', sub ($m) { (value($m, 'records_total') // 0) == 1000 && (value($m, 'acknowledged_lsn') // 0) > 0 }) if $c->read_until(qr/"id":1000,/);
is(value($m, 'snapshot_rows_total'), 1000, 'rows are counted');
is(value($m, 'snapshot_done_ratio'), 1, '... and their share');
insert(7);
insert(2);
$c->read_until(qr/"id":$last_id,/);
sub saved () { return lsn_num(JSON::PP->new->decode(slurp("$dir/s.json"))->{lsn}) }
$m = wait_metrics('everything is acknowledged', sub ($m) {
    return value($m, 'records_total') == 1009 && value($m, 'lag_bytes') == 0 && value($m, 'acknowledged_lsn') == saved();
});
my $is = sub ($name, $value, $what) { is(value($m, $name), $value, "$what: $name") };
$is->('running', 1, 'a run');
$is->('connected', 1, 'a run');
$is->('written_bytes_total', length $c->out, 'a run');
$is->('transactions_total', 2, 'a run');
$is->('lag_seconds', '0.000000', 'a run');
$is->('reconnects_total', 0, 'a run');
$is->('dead_letters_total', 0, 'a run');
$is->('output_stalled', 0, 'a run');
cmp_ok(abs(value($m, 'start_time_seconds') - $began), '<', 5, 'a run: its start');
cmp_ok(abs(value($m, 'last_commit_timestamp_seconds') - time), '<', 60, 'a run: the last commit');
cmp_ok(value($m, $_), '>=', value($m, 'acknowledged_lsn'), "a run: $_") for qw(server_lsn received_lsn);
cmp_ok(value($m, 'server_lsn_age_seconds'), '<', 30, 'a run: the age of its word');
is($m->{cdcdump_exit_info}, undef, 'a run: it has not ended');
like($m->{cdcdump_build_info}{labels}{version}, qr/\A\d+\.\d+\.\d+\z/, 'the version');
is_deeply([grep { $_->{labels}{slot} ne 's' || $_->{labels}{database} ne $database } values %$m], [], 'every sample says of which slot and database');
is((stat $file)[2] & 07777, 0644, 'mode 0644');

# ---- whole at any moment ----

my (%inodes, %texts);
my $looks = 0;
my $until = time + 1.5;
insert(500);
while (time < $until) {
    $c->read_available;
    open my $fh, '<', $file or die "$file: $!";
    $inodes{(stat $fh)[1]} = 1;
    local $/;
    my $text = <$fh>;
    $texts{$text} = 1;
    eval { metrics($text); 1 } or fail("torn: $@$text"), last;
    $looks++;
}
cmp_ok($looks, '>', 100, "read $looks times, whole each time");
cmp_ok(scalar(keys %texts), '>', 3, 'and written anew meanwhile');
cmp_ok(scalar(keys %inodes), '>', 1, '... as another file');    # the number of the one before may come again
is_deeply([grep { !/\A(?:s\.json.*|shop\.prom(?:\.tmp)?)\z/ } map { s{.*/}{}r } glob "$dir/*"], [], 'nothing else is left in the folder');

# ---- a reader that stands still, a lost connection ----

insert(20_000);
$m = wait_metrics('the stall', sub ($m) { value($m, 'output_stalled') == 1 });
cmp_ok(value($m, 'lag_bytes'), '>', 0, 'the output stands still: there is a lag');
$c->read_until(qr/"id":$last_id,/);
$m = wait_metrics('its end', sub ($m) { value($m, 'output_stalled') == 0 && value($m, 'lag_bytes') == 0 });
$pg->terminate_slot_user('s');
$m = wait_metrics('a reconnect', sub ($m) { value($m, 'reconnects_total') == 1 && value($m, 'connected') == 1 });
is(value($m, 'running'), 1, 'reconnects are counted');

# ---- ends ----

my $r = $c->stop;
$r->exited(0, 'the end');
$m = now();
is(value($m, 'running'), 0, 'a regular end: not running');
is($m->{cdcdump_exit_info}{labels}{outcome}, 'stopped', '... but stopped');
is(value($m, 'records_total'), scalar(my @all = $r->records), '... the last word is right');
is(value($m, 'written_bytes_total'), length $r->out, '... of bytes, too');
is(($r->err =~ s/^cdcdump: stream: .*\n//mgr =~ s/^cdcdump: error: could not read the stream: .*\n//r), '', '-q and --stats: nothing is said but the error and the figures');

start('-E', 'now')->wait->exited(0, 'a bound');
is(now()->{cdcdump_exit_info}{labels}{outcome}, 'done', '... is done');
is(value(now(), 'connected'), 0, '... and not connected');

$c = start();
wait_metrics('a new run', sub ($m) { value($m, 'running') == 1 && value($m, 'connected') == 1 });
ok($c->kill('KILL'), 'kill -9');
$c->wait->signaled('KILL', 'hits');
is(value(now(), 'running'), 1, '... and leaves what was there');
spew("$file.tmp", 'left over');
insert(3);
start('-E', 'now')->wait->exited(0, 'the next run');
is(value(now(), 'records_total'), 3, '... begins to count anew');
ok(!-e "$file.tmp", '... and takes what is left over away');

insert(5);
$c = start({stdout => '>/dev/full'}, '-E', 'now');
$c->wait->exited(5, 'a full disk');
is(now()->{cdcdump_exit_info}{labels}{outcome}, 'output_failed', '... is told');

$c = start();
$c->close_stdout;
insert(1);
$c->wait->signaled('PIPE', 'a closed pipe');
is(now()->{cdcdump_exit_info}{labels}{outcome}, 'output_closed', '... is told');

# A second run must not speak for the first.
$c = start();
$m = wait_metrics('a run', sub ($m) { value($m, 'running') == 1 && value($m, 'connected') == 1 });
start()->wait->exited(3, 'the state file is in use');
is(value(now(), 'running'), 1, '... and the figures are the first one\'s');
$c->stop->exited(0, 'the end');

# ---- it cannot be written ----

sub lines_of ($text) { return scalar(() = $text =~ /^cdcdump: warning: could not write metrics file/mg) }

$file = "$dir/later/shop.prom";
$c = Cdc->start(server => $pg, db => $database,
    args => [qw(-S s -e plain --stats=0.1), '--state', "$dir/s.json", '--metrics-file', $file]);
$c->wait_stderr(qr/^cdcdump: warning: could not write metrics file "\Q$file\E": No such file or directory$/m);
$c->wait_stderr(qr/(?:^cdcdump: stream: .*){5}/ms);
is(lines_of($c->stderr), 1, 'no folder: a warning, once');
insert(1);
$c->read_until(qr/"id":$last_id,/);
mkdir "$dir/later" or die "mkdir: $!";
$c->wait_stderr(qr/^cdcdump: metrics file "\Q$file\E" is written again$/m);
$m = wait_metrics('the run', sub ($m) { value($m, 'running') == 1 });
cmp_ok(value($m, 'records_total'), '>=', 1, 'capture has gone on');
$c->stop->exited(0, '... to a good end');

for ([$dir, 'a folder', qr/Is a directory/], ["$dir/link", 'a link', qr/it is not a regular file/],
     ["$dir/fifo", 'a FIFO', qr/it is not a regular file/]) {
    ($file, my $what, my $why) = @$_;
    symlink '/dev/null', $file if $what eq 'a link';
    system('mkfifo', $file) if $what eq 'a FIFO';
    my $type = (lstat $file)[2];
    $r = Cdc->run(server => $pg, db => $database,
        args => [qw(-S s -e plain -E now), '--state', "$dir/s.json", '--metrics-file', $file]);
    $r->exited(0, "$what: the capture does its work");
    like($r->err, qr/^cdcdump: warning: could not write metrics file "\Q$file\E": $why$/m, "$what: a warning");
    is((lstat $file)[2], $type, "$what: is not replaced");
}

done_testing;
