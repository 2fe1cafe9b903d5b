# kill -9 while others write: CSV and Avro in a file have every change once, in a pipe at least once, in
# whole files of each run.
#
# CDCTEST_SEED=N makes the same random choices again; the seed is printed.
use v5.36;
use CdcTest;
use CdcTest::Formats;
use CdcTest::Workload;
use Time::HiRes qw(sleep time);

skip_all_without(has_avro(), 'Python with avro, snappy and zstandard is not installed');

my $seed = $ENV{CDCTEST_SEED} // (time * 1000) % 1_000_000;
srand $seed;
note "seed $seed";
END { diag("seed $seed") if defined $seed && !Test::More->builder->is_passing }

my $pg = PgServer->new;
CdcTest::Workload::create($pg, 'shop');
my $dir = scratch();

# name -> options; "pipe_…" have a pipe.
my %ways = (
    avro_plain => [qw(-F avro -e plain --codec=null)], avro_debezium => [qw(-F avro --codec=zstandard)],
    csv_debezium => [qw(-F csv -e debezium)], csv_flink => [qw(-F csv --changelog-mode=upsert -t item)],
    pipe_avro => [qw(-F avro -e plain --codec=deflate)], pipe_csv => [qw(-F csv -e debezium)],
);
$pg->sql('shop', 'CREATE PUBLICATION p FOR TABLE item, pair');
sub args ($name, @more) {
    return [-S => $name, qw(-m never --publication=p --publication-mode=existing --status-interval=0.02 --state), "$dir/$name.json",
        $name =~ /pipe/ ? () : ('-f', "$dir/$name.out"), @{ $ways{$name} }, @more];
}
sub start ($name, @more) { return Cdc->start(server => $pg, db => 'shop', args => args($name, @more)) }
for my $name (sort keys %ways) { start($name, -E => 'now')->wait->exited(0, "$name: a slot") }

sub saved_lsn ($name) { return lsn_num(JSON::PP->new->decode(slurp("$dir/$name.json"))->{lsn}) }

# Runs that are killed somewhere, until enough of them had moved the position and enough had left what
# was not accepted (a file) or not read (a pipe); the bytes of pipes.
sub kills ($name) {
    my ($hits, $moved, $cuts, @runs) = (0, 0, 0);
    my $piped = $name =~ /pipe/;
    my $file = "$dir/$name.out";
    my $deadline = time + 40;
    for my $n (1 .. 60) {
        last if $n > 8 && $moved >= 2 && ($piped || $cuts >= 1) || time > $deadline;
        my $before = saved_lsn($name);
        my $c = start($name);
        my $began = $piped ? 0 : -s $file;
        my $more = rand() < 0.3 ? 1 : rand 8_000;
        my $patience = time + 0.5;
        while (time < $patience && ($piped ? length $c->out : (-s $file) - $began) < $more) {
            if   ($piped) { $c->read_some(1 + int rand 20_000, 0.05) }
            else          { sleep 0.0005 }
        }
        sleep rand 0.03 if rand() < 0.5;
        $c->kill('KILL');
        my $r = $c->wait;
        push @runs, $r->out if $piped;
        $hits++ if defined $r->signal && $r->signal == 9;
        $moved++ if saved_lsn($name) > $before;
        $cuts++ if $r->err =~ /cutting output file/;
    }
    cmp_ok($hits, '>=', 8, "$name: kills that hit");
    cmp_ok($moved, '>=', 1, "$name: runs that moved the position");
    note("$name: $hits kills, $moved positions, $cuts cuts");
    return @runs;
}

# While two workers write, which goes on for as long as the kills do.
my $worker = 0;
my %runs;
for my $name (sort keys %ways) {
    my @writers = map { $pg->session('shop') } 1, 2;
    $_->send(CdcTest::Workload::work(++$worker % 10, 150, 0.004)) for @writers;
    $runs{$name} = [kills($name)];
    $_->finish(120) for @writers;
    $_->close for @writers;
}
for my $name (sort keys %ways) {
    my $r = start($name, -E => 'now')->wait;
    $r->exited(0, "$name: the run after the kills");
    push @{ $runs{$name} }, $r->out;
}

# ---- the oracle ----

# Records of flink's CSV in upsert mode.
sub upserts ($bytes) {
    my ($header, @rows) = csv($bytes);
    return map {
        my %c;
        @c{@$header} = @$_;
        my %meta = map { $_ => delete $c{$_} } qw(row_kind commit_lsn tx_seq xid ts _unchanged);
        my $op = { '+I' => 'c', '+U' => 'u', '-D' => 'd' }->{ $meta{row_kind} };
        $c{$_} += 0 for grep { defined $c{$_} } qw(id n);
        { op => $op, before => $op eq 'd' ? { id => $c{id} } : undef, after => $op eq 'd' ? undef : \%c,
          source => { schema => 'public', table => 'item', commit_lsn => $meta{commit_lsn}, tx_seq => $meta{tx_seq}, txId => $meta{xid}, snapshot => 'false' } };
    } @rows;
}

my %read = (avro_plain => \&avro, avro_debezium => \&avro, csv_debezium => sub ($p) { csv_records(slurp($p)) }, csv_flink => sub ($p) { upserts(slurp($p)) });
for my $name (sort keys %read) {
    my $file = "$dir/$name.out";
    my @records = eval { $read{$name}->($file) };
    is($@, '', "$name: the file can be read as a whole");
    cmp_ok(scalar @records, '>', 500, "$name: it is not small") and note(scalar @records);
    my $oracle = CdcTest::Workload::oracle(allow_gaps => $name eq 'csv_flink')->apply(@records);
    $oracle->faultless("$name: each change once, in order");
    $oracle->compare($pg, 'shop', "public.$_", name => "$name: table $_") for $name eq 'csv_flink' ? 'item' : qw(item pair);
    is(scalar(() = slurp($file) =~ /$_->[0]/g), 1, "$name: one head") for $name =~ /avro/ ? [qr/Obj\x01/] : [qr/commit_lsn,tx_seq/];
    start($name, -E => 'now')->wait->exited(0, "$name: once more");
    is(scalar(my @again = $read{$name}->($file)), scalar @records, "$name: nothing comes again");
}
for my $name (qw(pipe_avro pipe_csv)) {
    my $oracle = CdcTest::Workload::oracle(allow_duplicates => 1);
    my ($runs, $last) = (0, $#{ $runs{$name} });
    for my $n (0 .. $last) {
        my $bytes = $runs{$name}[$n];
        my $torn = $n < $last;
        $bytes =~ s/[^\n]*\z// if $torn && $name =~ /csv/;
        next if $bytes eq '';
        my @records = eval { $name =~ /avro/ ? avro_bytes($bytes, torn => $torn) : csv_records($bytes) };
        fail("$name: run $n can be read: $@") if $@;
        $runs++ if @records;
        $oracle->resumes->apply(@records);
    }
    cmp_ok($runs, '>=', 4, "$name: runs that gave something, each with a head of its own");
    $oracle->faultless("$name: nothing missing, in order");
    note("$name: " . $oracle->duplicates . ' records came again');
    CdcTest::Workload::compare($oracle, $pg, 'shop', $name);
}

done_testing;
