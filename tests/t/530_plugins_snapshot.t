# Snapshots with every plugin other than pgoutput, all of them at once beside writers: each row once, each
# later change once, nothing missing; killed in the midst of it; what rows and changes are to have alike.
#
# CDCTEST_SEED=N makes the same choices again; the seed is printed.  CDCTEST_ONLY=REGEX: just those tests
# beside writers whose name matches.  CDCTEST_KEEP=DIR keeps the output of what fails.
use v5.36;
use utf8;
use CdcTest;
use CdcTest::Writers;
use Encode qw(decode_utf8);
use Time::HiRes qw(sleep time);

my $seed = $ENV{CDCTEST_SEED} // int(time * 1000) % 1_000_000;
srand $seed;
note "seed $seed";
END { diag("seed $seed") if defined $seed && !Test::More->builder->is_passing }
my $only = $ENV{CDCTEST_ONLY} // '';

my %tells_lsn = map { $_ => 1 } qw(wal2json wal2json_rds);

my $pg = PgServer->new(extra_conf => { max_replication_slots => 100, max_wal_senders => 40, max_connections => 120 });
my $dir = scratch();

# Whether the server has that library.
sub there ($library) {
    state %there;
    return $there{$library} //= do {
        my ($failed, undef, $why) = $pg->try_sql('postgres', "SELECT pg_create_logical_replication_slot('probe', '$library', true)");
        die $why if $failed && $why !~ /could not access file "$library"/;
        $failed ? 0 : 1;
    };
}

my %library = map { $_ => /^wal2json/ ? 'wal2json' : $_ } my @plugins = qw(wal2json wal2json_rds wal2json_streaming wal2json_rds_streaming decoderbufs test_decoding);
@plugins = grep { there($library{$_}) } @plugins;
skip_all_without(scalar(@plugins), 'no plugin but pgoutput is there');
SKIP: for (grep { !there($_) } qw(wal2json decoderbufs test_decoding)) { skip_without(0, "plugin $_ is not there") }

# ---- one database with writers, and a run of each plugin ----

# What pgoutput gives to a slot that is older than any row is what each event is held against.  A key is
# never NaN here: wal2json gives that as null.
CdcTest::Writers::create($pg, 'writers');
$pg->sql('writers', q(CREATE OR REPLACE FUNCTION w_num_key(n bigint) RETURNS numeric IMMUTABLE LANGUAGE sql AS
    $$ SELECT (n || (ARRAY['', '.50', '.500', '.7'])[1 + abs(n % 4)])::numeric $$; CREATE PUBLICATION everything FOR ALL TABLES));

# how: rows; slot => [plugins]: whose slots are there before; args; held => 1: a transaction that is open
# when the slots are read from first
sub scene ($name, %how) {
    state $n = 0;
    $n++;
    my %s = (name => $name, db => "db$n", all => "all_$n", reference => "$dir/$n.all", args => [], began => time, %how);
    my $db = $s{db};
    $pg->sql('postgres', "CREATE DATABASE $db TEMPLATE writers");
    $pg->sql($db, "SELECT pg_create_logical_replication_slot('$s{all}', 'pgoutput')");
    CdcTest::Writers::fill($pg, $db, $s{rows});
    $s{runs} = { map { $_ => { plugin => $_, slot => "s${n}_$_", out => "$dir/$n.$_.out", state => "$dir/$n.$_.json" } } @plugins };
    for my $plugin (@{ $how{slot} // [] }) {
        my $run = $s{runs}{$plugin};
        $run->{from} = $pg->sql($db, "SELECT lsn FROM pg_create_logical_replication_slot('$run->{slot}', '$library{$plugin}')");
    }
    if ($how{held}) {
        $s{held} = $pg->session($db);
        $s{held}->sql('BEGIN');
        $s{held}->sql("INSERT INTO w_big (id, note) VALUES (555, 'held'), (-5, 'held')");
        $s{held}->sql('UPDATE w_text SET n = n + 1000 WHERE id = (SELECT min(id) FROM w_text)');
    }
    $s{writers} = CdcTest::Writers->start(server => $pg, db => $db, seed => $seed, writers => 2, pause => 0.008, hold => [0.2, 0.4]);
    $s{writers}->until_each(60, qw(prepared_commit async update insert delete));
    return \%s;
}

sub begin ($s, $plugin, @more) {
    my $run = $s->{runs}{$plugin};
    $run->{args} = \@more;
    $run->{c} = Cdc->start(server => $pg, db => $s->{db}, stdout => 'null', args => [-P => $plugin, -S => $run->{slot}, '--state' => $run->{state}, -f => $run->{out},
        '-v', '--status-interval' => '0.05', @{ $s->{args} }, @more]);
    return $run->{c};
}
sub saved ($run) { return -e $run->{state} ? JSON::PP->new->decode(slurp($run->{state})) : undef }

# All have read the rows; the writers go on for a moment, and stop.
sub has_read ($s) {
    for my $run (values %{ $s->{runs} }) {
        my $said = $run->{c}->wait_stderr(qr/: read [\d,]+ rows? of /, 60);
        ($run->{from}) = $said =~ m{: created replication slot "\w+" at ([0-9A-F]+/[0-9A-F]+)} unless $run->{from};
        # Where too many transactions run for a snapshot to be exported with the slot it is joined, too.
        $run->{exported} = $said =~ /created replication slot/ && $said !~ /too many transactions are running/ && !grep { $_ eq 'incremental' } @{ $s->{args} };
    }
}

sub caught_up ($s) {
    my $end = lsn_num($pg->sql($s->{db}, 'SELECT pg_current_wal_insert_lsn()'));
    for my $run (values %{ $s->{runs} }) {
        wait_until(sub { !$run->{c}->running || lsn_num((saved($run) // { lsn => '0/0' })->{lsn}) >= $end }, 60, "$s->{name}, $run->{plugin}: all that was written");
    }
}

# ---- judging ----

# Read as it is, by (LSN, place); for plugins that do not tell of commits' LSNs by (number, place); and both
# without the values that are stored out of line: see judge().
sub read_references ($s) {
    my $r = Cdc->run(server => $pg, db => $s->{db}, stdout => ">$s->{reference}",
        args => [-S => $s->{all}, '-m' => 'never', '--publication' => 'everything', '--publication-mode' => 'existing', '-E' => 'now']);
    die "the reference could not be read: $r->{err}" unless defined $r->exit && $r->exit == 0;
}

sub short ($path) {
    spew("$path.short", slurp($path) =~ s/,"body":(?:null|"[^"]*")//gr);
    return "$path.short";
}

sub reference ($s, $plugin, $short) {
    my $tells = $tells_lsn{$plugin} ? 1 : 0;
    return $s->{references}{"$tells $short"} //= do {
        my $path = $short ? short($s->{reference}) : $s->{reference};
        if (!$tells) {
            spew("$path.xid", slurp($path) =~ s/"commit_lsn":\d+/"commit_lsn":null/gr);
            $path .= '.xid';
        }
        my $reference = CdcTest::Writers::oracle(history => 1)->apply_file($path);
        $reference->faultless("$s->{name}: the reference") if $reference->problems;
        $reference;
    };
}

# What the output makes, and what is wrong with it.  Beside chunks values that are not sent are read from the
# table where a row needs them, and may be newer than the event: the last one is right, so all of them are held
# against the tables in the end, and each event against the reference without them.
sub apply ($s, $run) {
    my $chunks = grep { $_ eq 'incremental' } @{ $s->{args} }, @{ $run->{args} // [] };
    my %events = (allow_gaps => 1, reference => reference($s, $run->{plugin}, $chunks ? 1 : 0));
    my $oracle = CdcTest::Writers::oracle($chunks ? (allow_gaps => 1) : %events)->apply_file($run->{out});
    my @wrong = $oracle->problems;
    push @wrong, CdcTest::Writers::oracle(%events)->apply_file(short($run->{out}))->problems if $chunks;
    return ($oracle, @wrong);
}

# All rows as a set of texts.
sub rows_of ($oracle) {
    my %rows;
    for my $table (@CdcTest::Writers::TABLES) {
        my $t = $oracle->{model}{"public.$table"} // { rows => {} };
        for my $id (keys %{ $t->{rows} }) {
            my $row = $t->{rows}{$id};
            $rows{ join "\t", $table, $t->{count}{$id} // 1, map { $_ // 'null' } @$row{ sort keys %$row } } = 1;
        }
    }
    return \%rows;
}

sub difference ($have, $want) {
    return ((map { "too much: $_" } grep { !$want->{$_} } sort keys %$have), (map { "missing: $_" } grep { !$have->{$_} } sort keys %$want));
}

sub verdict ($name, $what, @wrong) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return if ok(!@wrong, "$name: $what");
    diag(map { '  ' . substr($_, 0, 1000) . "\n" } @wrong > 12 ? (@wrong[0 .. 11], '… ' . @wrong) : @wrong);
    system 'cp', '-r', $dir, $ENV{CDCTEST_KEEP} if $ENV{CDCTEST_KEEP};
}

# {"xid,seq" => [op, commit LSN]} of the stream's events in a file
sub operations ($path) {
    my %op;
    open my $fh, '<:raw', $path or die "$path: $!\n";
    while (<$fh>) {
        $op{"$1,$3"} = [$4, $2] if /"txId":(\d+),"lsn":\d+,"xmin":null,"commit_lsn":(\d+|null),"tx_seq":(\d+)\},"op":"(\w)"/;
    }
    return \%op;
}

# How many events of the reference that lie behind the slot's first position did not come, how many came
# between rows, and how many updates moved a row over the place that had been reached.
my ($between, $crossed) = (0, 0);
sub interest ($run, $all) {
    my $given = operations($run->{out});
    my %n = (left_out => 0, between => 0, crossed => 0);
    my $from = lsn_num($run->{from});
    $n{left_out} = grep { !$given->{$_} && $all->{$_}[1] >= $from } keys %$all;
    $n{crossed} = grep { $all->{$_} && $all->{$_}[0] eq 'u' && $given->{$_}[0] ne 'u' } keys %$given;
    $crossed += $n{crossed};
    my $since = 0;
    open my $fh, '<:raw', $run->{out} or die "$run->{out}: $!\n";
    while (<$fh>) {
        my ($op) = /"op":"(\w)"/ or next;
        if ($op eq 'r') { $n{between} += $since; $since = 0 }
        else            { $since++ }
    }
    $between += $n{between};
    return \%n;
}

# Tests: each row once, each event where it belongs, and the tables in the end.
sub judge ($s, %least) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    read_references($s);
    my $all = operations($s->{reference});
    my $right;
    my @told;
    for my $plugin (@plugins) {
        my ($run, $name) = ($s->{runs}{$plugin}, "$s->{name}, $plugin");
        my ($oracle, @wrong) = apply($s, $run);
        # The first is held against the tables, the others against it: that is quicker.
        if ($right) {
            push @wrong, difference(rows_of($oracle), $right);
        } else {
            my @different = map { $oracle->diff($pg, $s->{db}, "public.$_", columns => 'all') } @CdcTest::Writers::TABLES;
            $right = rows_of($oracle) unless @different;
            push @wrong, @different;
        }
        verdict($name, 'each row once, each event where it belongs, and the tables in the end', @wrong);
        my $n = { %{ interest($run, $all) }, map { $_ => $oracle->count($_) } qw(r c u d) };
        push @told, "$plugin: " . join ', ', map { "$_ $n->{$_}" } sort keys %$n;
        my @dull = grep { $n->{$_} < $least{$_} } sort keys %least;
        ok(!@dull, "$name: and it was not easy") or diag("too few of @dull: $told[-1]");
        is($n->{left_out}, 0, "$name: all that the slot gave") if $run->{exported};
    }
    note join "\n", @told;
}

sub done_with ($s) {
    note sprintf "%s: %.1f s", $s->{name}, time - $s->{began};
    $pg->sql('postgres', "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = '$s->{db}'");
    $pg->sql('postgres', "DROP DATABASE $s->{db}");
    unlink glob "$s->{reference}*" if Test::More->builder->is_passing;
}

# ---- beside writers ----

sub beside ($name, %how) {
    return if $name !~ $only;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $least = delete $how{least};
    my $s = scene($name, %how);
    begin($s, $_, '-m' => 'initial') for @plugins;
    has_read($s);
    if ($s->{held}) {
        $s->{held}->sql('UPDATE w_big SET n = n + 1 WHERE id = 555');
        $s->{held}->sql('COMMIT');
        $s->{held}->close;
    }
    my $before = $s->{writers}->report->{done}{update} // 0;
    wait_until(sub { ($s->{writers}->report->{done}{update} // 0) > $before + 5 }, 30, 'more of the writers');
    $s->{writers}->stop;
    # Some are stopped in between, and get the rest in another run.
    my @half = grep { /\A(?:wal2json|wal2json_rds_streaming|decoderbufs)\z/ } @plugins;
    $s->{runs}{$_}{c}->stop('TERM')->exited(0, "$name, $_: stopped in between") for @half;
    begin($s, $_, '-m' => 'initial')->wait_stderr(qr/streaming from/) for @half;
    caught_up($s);
    $s->{runs}{$_}{c}->stop('TERM')->exited(0, "$name, $_: stopped") for @plugins;
    judge($s, %$least);
    done_with($s);
}

my @incremental = ('--snapshot' => 'incremental');
beside('a new slot', rows => 120, args => [-j => 2], least => { r => 500, u => 5 });
beside('joined', rows => 120, slot => \@plugins, held => 1, least => { r => 500, u => 5, left_out => 10 });
beside('incremental', rows => 100, slot => [grep { /\A(?:wal2json|wal2json_streaming|test_decoding)\z/ } @plugins], args => [@incremental, '--chunk-size' => 9], least => { r => 400, u => 5 });

# ---- modes that end by themselves ----

# What a pg_snapshot sees, given as its text.
sub seen_by ($text) {
    my ($xmin, $xmax, @running) = split /[:,]/, $text;
    my %running = map { $_ => 1 } @running;
    return sub ($commit, $xid) { $xid < $xmax && !$running{$xid} };
}

# Tests: the rows as some transactions left them: those for which $visible->(commit LSN, xid) is true.
sub judge_as_of ($s, $run, $visible) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $name = "$s->{name}, $run->{plugin}";
    my ($then, $later) = (CdcTest::Writers::oracle(allow_gaps => 1), 0);
    open my $fh, '<:raw', $s->{reference} or die "$s->{reference}: $!\n";
    while (<$fh>) {
        my ($xid, $commit) = /"txId":(\d+),"lsn":\d+,"xmin":null,"commit_lsn":(\d+)/ or next;
        if ($visible->($commit, $xid)) { $then->apply(CdcTest::Records::record(s/\n\z//r)) }
        else                           { $later++ }
    }
    my ($oracle, @wrong) = apply($s, $run);
    verdict($name, 'the rows as of one point', @wrong, $then->problems, difference(rows_of($oracle), rows_of($then)));
    cmp_ok($later, '>', 0, "$name: which is not the last one ($later events)");
    cmp_ok($oracle->count('r'), '>', 300, "$name: rows");
}

for my $mode (qw(snapshot initial_only)) {
    my $name = "mode $mode";
    next if $name !~ $only;
    my $s = scene($name, rows => 80);
    # One or the other way to read them.
    begin($s, $plugins[$_], '-m' => $mode, $mode eq 'snapshot' && $_ % 2 ? (@incremental, '--chunk-size' => 20) : (-j => 2)) for 0 .. $#plugins;
    $s->{runs}{$_}{c}->wait->exited(0, "$name, $_: ends by itself") for @plugins;
    is($pg->slot($s->{runs}{$_}{slot}), undef, "$name, $_: no slot is left") for @plugins;
    my $before = $s->{writers}->report->{done}{update} // 0;
    wait_until(sub { ($s->{writers}->report->{done}{update} // 0) > $before + 10 }, 30, 'more of the writers');
    $s->{writers}->stop;
    read_references($s);
    for my $plugin (@plugins) {
        my $state = saved($s->{runs}{$plugin});
        is($state->{phase}, 'complete', "$name, $plugin: so it is on record");
        my ($lsn, $seen) = (lsn_num($state->{lsn}), map { $_->{seen} } @{ $state->{snapshot}{snapshots} });
        judge_as_of($s, $s->{runs}{$plugin}, $mode eq 'snapshot' ? sub ($commit, $xid) { $commit < $lsn } : seen_by($seen));
    }
    done_with($s);
}

# ---- killed in the midst of chunks ----

{
    my $name = 'killed';
    last if $name !~ $only;
    my $s = scene($name, rows => 120, args => [@incremental, '--chunk-size' => 6]);
    my $progress = sub ($run) {
        my $state = saved($run) // {};
        return { phase => $state->{phase} // 'none', step => ($state->{snapshot} // {})->{step} // 0 };
    };
    my (%kills, %midst, @back);
    my %enough = map { $_ => 0 } @plugins;
    for my $round (1 .. 25) {
        my %life;
        for my $plugin (@plugins) {
            my $run = $s->{runs}{$plugin};
            my $before = $progress->($run);
            my $c = begin($s, $plugin, '-m' => 'initial');
            $midst{$plugin}++ if $before->{phase} eq 'snapshot' && $before->{step} > 0;
            my $size = -s $run->{out} // 0;
            # Early; when more has been written; when more is on record; or some time after the rows.
            my $what = int rand 5;
            my $at = $what == 0 ? time + rand 0.1 : undef;
            my $more = $size + rand 60_000;
            my $latest = time + CdcTest::Process::patient(30);
            $life{$plugin} = { c => $c, run => $run, before => $before, due => sub {
                $at //= time + rand 0.03 if time > $latest || ($what <= 2 ? (-s $run->{out} // 0) > $more : $progress->($run)->{step} > $before->{step})
                    || $before->{phase} eq 'streaming' && $c->stderr =~ /streaming from/;
                return defined $at && time >= $at;
            } };
        }
        my @waiting = values %life;
        while (@waiting) {
            @waiting = grep { !$_->{due}->() || ($_->{hit} = $_->{c}->kill('KILL'), 0)[1] } @waiting;
            sleep 0.001;
        }
        for my $plugin (@plugins) {
            my $life = $life{$plugin};
            my $r = $life->{c}->wait;
            if (defined $r->signal && $r->signal == 9) { $kills{$plugin}++ }
            else                                      { fail("$name, $plugin: ended before it was killed") or diag($r->describe) }
            my $after = $progress->($life->{run});
            push @back, "$plugin: $life->{before}{step} $life->{before}{phase}, then $after->{step} $after->{phase}"
                if $after->{step} < $life->{before}{step} || $life->{before}{phase} eq 'streaming' && $after->{phase} ne 'streaming';
        }
        last if $round >= 7 && !grep { ($midst{$_} // 0) < 3 } @plugins;
    }
    $s->{writers}->stop;
    begin($s, $_, '-m' => 'initial', '-E' => 'now') for @plugins;
    $s->{runs}{$_}{c}->wait->exited(0, "$name, $_: the run after the kills") for @plugins;
    is_deeply(\@back, [], "$name: what is on record stays so");
    for my $plugin (@plugins) {
        cmp_ok($kills{$plugin} // 0, '>=', 7, "$name, $plugin: kills that hit");
        cmp_ok($midst{$plugin} // 0, '>=', 3, "$name, $plugin: runs that began in the midst of the rows");
        is($progress->($s->{runs}{$plugin})->{phase}, 'streaming', "$name, $plugin: in the end all rows are on record");
        $s->{runs}{$plugin}{from} = '0/1';
    }
    judge($s, r => 500);
    done_with($s);
}

cmp_ok($between, '>=', 50, "events came between rows ($between)") unless $only;
cmp_ok($crossed, '>', 0, "rows moved over the place that had been reached ($crossed)") unless $only;
if ($only) {
    done_testing;
    exit;
}

# ---- at single points ----

# Of dresses that differ in their options only, one.
@plugins = grep { !/rds/ } @plugins;

my $db;
sub new_db ($name, $tables, $options = '') {
    $pg->sql('postgres', "CREATE DATABASE $name $options");
    $pg->sql($db = $name, $tables);
}
sub sql ($text) { return $pg->sql($db, $text) }
my @all = ('pgoutput', @plugins);
my @ways = (['consistent', '-j' => 2], ['incremental', @incremental, '--chunk-size' => 2]);

# A run of each of some plugins, side by side: {plugin => result}.
sub of_each ($prefix, $plugins, @args) {
    my %c = map { $_ => Cdc->start(server => $pg, db => $db, args => [-P => $_, -S => $prefix . $_, '--state' => "$dir/$db.$prefix$_.json", @args]) } @$plugins;
    return map { $_ => $c{$_}->wait } @$plugins;
}
sub all_exited ($name, %r) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $r{$_}->exited(0, "$_, $name") for sort keys %r;
}
sub drop_slots ($prefix) {
    sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name LIKE '$prefix%'");
    unlink glob "$dir/$db.$prefix*.json";
}

# "r t {old} {new}", as it is in the record
sub brief ($r) {
    return map {
        my ($old, $new, $table, $op) = /\A\{"before":(.*),"after":(.*),"source":\{.*"table":"([^"]*)",.*\},"op":"(\w)"/ or die "no record: $_";
        "$op $table $old $new";
    } map { decode_utf8($_) } $r->lines;
}

# Generated columns: pgoutput may leave them out, the others do not; rows and changes are alike.
new_db('generated', q(CREATE TABLE g (a int, id int PRIMARY KEY, gone int, twice int GENERATED ALWAYS AS (a * 2) STORED, b text); ALTER TABLE g DROP COLUMN gone;
    CREATE TABLE f (id int PRIMARY KEY, twice text GENERATED ALWAYS AS (translate(b, 'ÄB', 'äb')) STORED, b text); ALTER TABLE f REPLICA IDENTITY FULL;
    INSERT INTO g VALUES (7, 1, DEFAULT, 'x'), (NULL, 2, DEFAULT, NULL), (-1, 3, DEFAULT, ''); INSERT INTO f VALUES (1, DEFAULT, 'Ä')));
for my $way (@ways) {
    my ($how, @args) = @$way;
    my %rows = of_each("${how}_", \@all, '-m' => 'initial', '-E' => 'now', @args);
    all_exited("$how, generated columns: rows", %rows);
    sql(q(DELETE FROM g; DELETE FROM f));
    of_each("${how}_", \@all, '-E' => 'now', @args);
    sql(q(INSERT INTO g VALUES (7, 1, DEFAULT, 'x'), (NULL, 2, DEFAULT, NULL), (-1, 3, DEFAULT, ''); INSERT INTO f VALUES (1, DEFAULT, 'Ä')));
    my %inserts = of_each("${how}_", \@all, '-E' => 'now', @args);
    sql(q(UPDATE g SET a = 8 WHERE id = 1; UPDATE f SET b = 'B'));
    my %updates = of_each("${how}_", \@all, '-E' => 'now', @args);
    sql(q(UPDATE g SET a = 7 WHERE id = 1; UPDATE f SET b = 'Ä'));
    of_each("${how}_", \@all, '-E' => 'now', @args);
    for my $plugin (@all) {
        my $r = join "\n", sort map { s/^r //r } brief($rows{$plugin});
        is($r, join("\n", sort map { s/^c //r } brief($inserts{$plugin})), "$plugin, $how, generated columns: rows and inserts are alike");
        next if $plugin eq 'pgoutput';
        my @twice = map { qq("twice":$_,) } 14, 16, 'null', '"ä"', '"b"';
        like($r, qr/^g null \{"a":7,"id":1,$twice[0]"b":"x"\}$/m, "$plugin, $how, generated columns: in their place");
        like($r, qr/^g null \{"a":null,"id":2,$twice[2]"b":null\}$/m, "$plugin, $how, generated columns: null");
        my @want = (qq(u g null {"a":8,"id":1,$twice[1]"b":"x"}), qq(u f {"id":1,$twice[3]"b":"Ä"} {"id":1,$twice[4]"b":"B"}));
        is(join("\n", brief($updates{$plugin})), join("\n", @want), "$plugin, $how, generated columns: in updates and old rows");
    }
    drop_slots("${how}_");
}
my %without = of_each('without_', \@plugins, '-m' => 'initial', '-E' => 'now', '--exclude-column', '.*\.twice');
sql(q(INSERT INTO g VALUES (9, 9, DEFAULT, 'y')));
my %more = of_each('without_', \@plugins, '-E' => 'now', '--exclude-column', '.*\.twice');
for my $plugin (@plugins) {
    is(scalar(grep { /twice/ } brief($without{$plugin})), 0, "$plugin, a generated column left out: not in rows");
    is(join("\n", brief($more{$plugin})), 'c g null {"a":9,"id":9,"b":"y"}', "$plugin, a generated column left out: nor in changes");
}
drop_slots('without_');

# Not all plugins tell of TRUNCATE.
my @truncate = grep { /\A(?:pgoutput|wal2json|test_decoding)\z/ } @all;
SKIP: {
    skip_without(PgServer::version() >= 13, 'PostgreSQL 13 brought publications of partitioned tables', 1);
    # Partitions: as pgoutput gives them through the table above.
    new_db('parts', q(CREATE TABLE root (id int, region text, v int, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
        CREATE TABLE eu PARTITION OF root FOR VALUES IN ('eu');
        CREATE TABLE us (v int, gone int, region text NOT NULL, id int NOT NULL, PRIMARY KEY (id, region)); ALTER TABLE us DROP COLUMN gone; ALTER TABLE root ATTACH PARTITION us FOR VALUES IN ('us');
        CREATE TABLE asia PARTITION OF root FOR VALUES IN ('jp', 'cn') PARTITION BY LIST (region); CREATE TABLE jp PARTITION OF asia FOR VALUES IN ('jp');
        CREATE TABLE cn PARTITION OF asia FOR VALUES IN ('cn');
        INSERT INTO root VALUES (1, 'eu', 10), (2, 'us', 20), (3, 'jp', 30), (4, 'cn', 40), (5, 'eu', 50), (6, 'us', 60)));
    my $work = q(INSERT INTO root VALUES (8, 'eu', 80), (9, 'cn', 90), (10, 'us', 100), (11, 'jp', 110); UPDATE root SET v = v + 1 WHERE id > 7; UPDATE root SET id = 12 WHERE id = 10;
        UPDATE root SET region = 'us' WHERE id = 8; DELETE FROM us WHERE id = 12; DELETE FROM root WHERE id IN (8, 9, 11));
    for my $case (['through the root', [], 'root'], ['leaves', [-t => 'us|cn'], 'us cn'], ['in the middle', [-t => 'asia'], 'asia'],
            ['chunks', \@incremental, 'root'], ['leaves in chunks', [-t => 'us|jp', @incremental, '--chunk-size' => 1], 'us jp']) {
        my ($name, $args, $tables) = @$case;
        my $prefix = ($name =~ tr/ /_/r) . '_';
        my %rows = of_each($prefix, \@all, '-m' => 'initial', '-E' => 'now', @$args);
        all_exited("partitions, $name: rows", %rows);
        sql($work);
        my %changes = of_each($prefix, \@all, '-E' => 'now', @$args);
        all_exited("partitions, $name: changes", %changes);
        my ($rows, $changes) = map { my $of = $_; join "\n", $of == \%rows ? sort(brief($of->{pgoutput})) : brief($of->{pgoutput}) } \%rows, \%changes;
        is(join(' ', sort { $tables =~ /$a.*$b/ ? -1 : 1 } keys %{ { map { (split)[1] => 1 } split /\n/, "$rows\n$changes" } }), $tables, "partitions, $name: names");
        cmp_ok(scalar(split /\n/, $changes), '>', 2, "partitions, $name: there are changes");
        for my $plugin (@plugins) {
            is(join("\n", sort(brief($rows{$plugin}))), $rows, "$plugin, partitions, $name: rows as with pgoutput");
            is(join("\n", brief($changes{$plugin})), $changes, "$plugin, partitions, $name: changes as with pgoutput");
        }
        drop_slots($prefix);
        sql(q(DO $$ BEGIN EXECUTE (SELECT string_agg(format('DROP PUBLICATION %I', pubname), ';') FROM pg_publication); END $$));
    }
    # A partition may have an identity of its own: old rows are no less than what pgoutput makes of them.
    sql('ALTER TABLE jp REPLICA IDENTITY FULL');
    of_each('full_', \@all, '-m' => 'never', '-E' => 'now');
    sql(q(INSERT INTO root VALUES (11, 'jp', 110); UPDATE root SET v = v + 1 WHERE id = 11; DELETE FROM root WHERE id = 11));
    my %full = of_each('full_', \@all, '-E' => 'now');
    for my $plugin (@all) {
        my ($insert, $update, $delete) = brief($full{$plugin});
        like($update, qr/\Au root \{"id":11,"region":"jp"(?:,"v":110)?\} \{"id":11,"region":"jp","v":111\}\z/, "$plugin, partitions, a full identity below: the update");
        like($delete, qr/\Ad root \{"id":11,"region":"jp"(?:,"v":111)?\} null\z/, "$plugin, partitions, a full identity below: the delete");
    }
    drop_slots('full_');
    # What is emptied: only the table above is told of.
    of_each('cut_', \@all, '-m' => 'never', '-E' => 'now');
    sql('TRUNCATE us; INSERT INTO root VALUES (2, $$us$$, 20); TRUNCATE asia; TRUNCATE root');
    my %cut = of_each('cut_', \@all, '-E' => 'now');
    for my $plugin (@all) {
        my @told = grep { $_ eq $plugin } @truncate;
        is(join("\n", brief($cut{$plugin})), join("\n", 'c root null {"id":2,"region":"us","v":20}', @told ? 't root null null' : ()), "$plugin, partitions: truncated");
    }
    drop_slots('cut_');
}

# ---- rows that move while they are read, with values that are not sent ----

my $collation = CdcTest::Writers::collation($pg, 'writers');
my @chunked = (@incremental, '--chunk-size' => 4);
my (%first, %rest);
# In LATIN1 the stream's keys are not the bytes that rows and questions have.
for my $encoding (qw(LATIN1 UTF8)) {
    new_db('moves_' . lc $encoding, qq(CREATE TABLE t (id text COLLATE $collation PRIMARY KEY, "größe" int NOT NULL DEFAULT 0, body text); ALTER TABLE t ALTER body SET STORAGE EXTERNAL;
        INSERT INTO t SELECT chr(96 + g) || CASE WHEN g % 2 = 0 THEN '' ELSE 'É' END, g, repeat(md5(g::text), 90) FROM generate_series(1, 24) g), "ENCODING '$encoding' TEMPLATE template0");
    %first = of_each('m_', \@plugins, '-m' => 'initial', '--count' => 1, @chunked);
    # One more goes on in another dress.
    my @switched = (-S => 'm_switched', '--state' => "$dir/$db.m_switched.json", '-m' => 'initial', @chunked);
    $first{switched} = Cdc->run(server => $pg, db => $db, args => [@switched, -P => 'wal2json', '--count' => 1]) if there('wal2json');
    all_exited("$encoding, moves: some of the rows", %first);
    # In the order of bytes, B lies before all that has been read, and É behind all that is to come.
    sql(q(UPDATE t SET id = 'B0' WHERE id = 'x'; UPDATE t SET id = 'z9' WHERE id = 'b'; UPDATE t SET "größe" = "größe" + 100 WHERE id = 'aÉ'; UPDATE t SET id = 'É1' WHERE id = 'wÉ';
        UPDATE t SET id = 'bÉ' WHERE id = 'uÉ'; UPDATE t SET "größe" = "größe" + 1; BEGIN; UPDATE t SET id = 'a1' WHERE id = 'v'; UPDATE t SET id = 'y1' WHERE id = 'a1';
        UPDATE t SET id = 'A2' WHERE id = 'y1'; COMMIT; DELETE FROM t WHERE id = 'h'));
    %rest = of_each('m_', \@plugins, '-m' => 'initial', '-E' => 'now', @chunked);
    $rest{switched} = Cdc->run(server => $pg, db => $db, args => [@switched, -P => 'wal2json_rds_streaming', '-E' => 'now']) if there('wal2json');
    all_exited("$encoding, moves: the rest", %rest);
    for my $plugin (@plugins, there('wal2json') ? 'switched' : ()) {
        my $name = "$encoding, $plugin, moves";
        my $given = () = $first{$plugin}->out =~ /"op":"r"/g;
        ok($given >= 4 && $given < 20, "$name: they came in the midst of it ($given)");
        my $oracle = Oracle->new(keys => { 'public.t' => ['id'] }, allow_gaps => 1)->apply($first{$plugin}->records, $rest{$plugin}->records);
        $oracle->faultless("$name: each row once");
        $oracle->compare($pg, $db, 'public.t', name => "$name: the table in the end, with every value");
        for my $id ('B0', 'bÉ') {
            my ($come) = grep { (($_->{after} // {})->{id} // '') eq $id } $rest{$plugin}->records;
            is($come->{op}, 'c', "$name: a row that comes to where has been read is an insert");
        }
    }
    drop_slots('m_') if $encoding ne 'UTF8';
}
drop_slots('m_');

# Emptied while it is read, where the plugin tells of it.
my @told = grep { $_ ne 'pgoutput' } @truncate;
%first = of_each('t_', \@told, '-m' => 'initial', '--count' => 1, @chunked);
sql(q(TRUNCATE t; INSERT INTO t VALUES ('b', 1, 'again'), ('zz', 2, 'far'); UPDATE t SET "größe" = 3 WHERE id = 'zz'));
%rest = of_each('t_', \@told, '-m' => 'initial', '-E' => 'now', @chunked);
for my $plugin (@told) {
    my $oracle = Oracle->new(keys => { 'public.t' => ['id'] }, allow_gaps => 1)->apply($first{$plugin}->records, $rest{$plugin}->records);
    $oracle->faultless("$plugin, TRUNCATE between chunks: each row once");
    $oracle->compare($pg, $db, 'public.t', name => "$plugin, TRUNCATE between chunks: the table in the end");
    is($oracle->count('t'), 1, "$plugin, TRUNCATE between chunks: it is told of");
}
drop_slots('t_');

# ---- startup modes ----

new_db('modes', q(CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b')));
my $last = 2;
sub add () { sql('INSERT INTO t VALUES (' . ++$last . ')') }
sub give ($want, $name, $prefix, @args) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my %r = of_each($prefix, \@plugins, @args);
    all_exited($name, %r);
    is(gist($r{$_}), $want, "$_, $name: gives " . ($want || 'nothing')) for @plugins;
    return %r;
}
my @now = ('-E' => 'now');
my %r = of_each('none_', \@plugins, '-m' => 'committed-offset', @now);
for my $plugin (@plugins) {
    $r{$plugin}->exited(2, "$plugin, committed-offset without a slot");
    is($pg->slot("none_$plugin"), undef, "$plugin, committed-offset without a slot: makes none");
}
give("r1..$last", 'initial', 'i_', '-m' => 'initial', @now);
add();
give("c$last", 'initial, with a state file', 'i_', '-m' => 'initial', @now);
add();
give("r1..$last", 'always', 'i_', '-m' => 'always', @now);
add();
give("c$last", 'committed-offset, with a state file', 'i_', '-m' => 'committed-offset', @now);
unlink glob "$dir/$db.i_*.json";
add();
give("r1..$last", 'initial, with a slot', 'i_', '-m' => 'initial', @now);
unlink glob "$dir/$db.i_*.json";
add();
give('', 'latest-offset, with a slot', 'i_', '-m' => 'latest-offset', @now);
add();
give("c$last", 'latest-offset, with a state file', 'i_', '-m' => 'latest-offset', @now);
sql(q(SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name LIKE 'i\_%'));
add();
%r = of_each('i_', \@plugins, '-m' => 'initial', @now);
$r{$_}->exited(4, "$_, initial: the slot is gone") for @plugins;
give("r1..$last", 'when_needed: the slot is gone', 'i_', '-m' => 'when_needed', @now);
is($pg->slot("i_$_")->{plugin}, $library{$_}, "$_, when_needed: made a slot of the plugin") for @plugins;
# Of changes that are made while rows are read.
my %c = map { $_ => Cdc->start(server => $pg, db => $db, args => [-P => $_, -S => "while_$_", '-m' => 'snapshot',
    '--snapshot-query', 'public.t=SELECT * FROM t WHERE id < 3 OR pg_sleep(0.1) IS NOT NULL']) } @plugins;
$c{$_}->wait_stderr(qr/created replication slot/) for @plugins;
my $before = $last;
sql("UPDATE t SET v = 'while' WHERE id = 2");
for my $plugin (@plugins) {
    my $r = $c{$plugin}->wait;
    $r->exited(0, "$plugin, snapshot");
    # One that was quick has read the row as it is now, or left before the update.
    like(gist($r), qr/\Ar1\.\.$before( u2)?\z/, "$plugin, snapshot: rows, then changes");
    is($pg->slot("while_$plugin"), undef, "$plugin, snapshot: leaves no slot");
}
my $followed = grep { gist($c{$_}->out) =~ /u2/ } @plugins;
cmp_ok($followed, '>', 0, 'snapshot: changes that were made while rows were read');
give("r1..$last", 'initial_only', 'o_', '-m' => 'initial_only');
is($pg->slot("o_$_"), undef, "$_, initial_only: leaves no slot") for @plugins;

done_testing;
