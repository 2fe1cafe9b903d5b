# Output files that a run finds there: whole, torn, moved away, with and without a state file.
use v5.36;
use CdcTest;
use CdcTest::Formats;

skip_all_without(has_avro(), 'Python with avro, snappy and zstandard is not installed');

my $pg = PgServer->new(extra_conf => { max_replication_slots => 20 });
$pg->create_db('shop');
my $dir = scratch();
my $next = 0;

sub sql ($text) { $pg->sql('shop', $text) }

# A run to the end of the WAL without a state file.
sub run ($slot, @args) {
    return Cdc->run(server => $pg, db => 'shop', args => [-S => $slot, qw(-m never -E now -e plain), -t => $slot, @args]);
}
sub insert ($table) { sql("INSERT INTO $table SELECT coalesce(max(id), 0) + 1 FROM $table") }
sub begin ($table, @args) {
    sql("CREATE TABLE $table (id int PRIMARY KEY)");
    run($table, @args)->exited(0, "$table: a slot");
    insert($table);
    run($table, @args)->exited(0, "$table: a first record");
    insert($table);
}
sub cut ($path, $bytes) { truncate $path, (-s $path) - $bytes or die "truncate: $!" }
sub ids (@records) { return join ' ', map { $_->{row}{id} } @records }

# ---- lines ----

{
    my $file = "$dir/lines";
    begin('lines', -f => $file);
    my $r = run('lines', -f => $file);
    is($r->err, '', 'whole lines: nothing to say');
    is(() = slurp($file) =~ /^\{.*\}$/mg, 2, 'whole lines: go on behind them');
    cut($file, 5);
    insert('lines');
    $r = run('lines', -f => $file);
    $r->exited(0, 'half a line');
    like($r->err, qr/^cdcdump: warning: output file ".*\/lines" ends in the middle of a line: going on behind that$/m, 'half a line: is said');
    like(slurp($file), qr/\A\{.*"id":1\}.*\}\n\{.*[^}\n]\n\{.*"id":3\}.*\}\n\z/, 'half a line: stays alone');
}
{
    my $file = "$dir/cells";
    begin('cells', -f => $file, qw(-F csv -e debezium));
    cut($file, 3);
    my $r = run('cells', -f => $file, qw(-F csv -e debezium));
    $r->exited(0, 'half a line of CSV');
    like($r->err, qr/ends in the middle of a line/, 'half a line of CSV: is said');
    like(slurp($file), qr/\Aop,.*\nc,.*[^"]\nc,.*""id"":2\}"\n\z/, 'half a line of CSV: stays alone');
}

# ---- blocks ----

for my $codec (qw(null deflate)) {
    my $file = "$dir/$codec";
    my @args = (-f => $file, '-F', 'avro', '--codec', $codec);
    begin("blocks_$codec", @args);
    run("blocks_$codec", @args)->exited(0, "$codec, whole blocks");
    is(ids(avro($file)), '1 2', "$codec, whole blocks: go on behind them");
    my $whole = slurp($file);
    my @blocks = @{ container($file)->{blocks} };
    insert("blocks_$codec");
    for my $keep ($blocks[1]{at} + 1, $blocks[1]{end} - 1, $blocks[0]{end} - 16) {
        spew($file, substr $whole, 0, $keep);
        my $r = run("blocks_$codec", @args);
        $r->exited(2, "$codec, torn after $keep bytes");
        like($r->err, qr/cannot be continued: it ends in the middle of a block/, "$codec, torn: why");
        is(-s $file, $keep, "$codec, torn: is left as it is");
    }
    spew($file, $whole =~ s/.\z/\0/sr) if substr($whole, -1) ne "\0";
    run("blocks_$codec", @args)->exited(2, "$codec, another sync marker at the end");
    spew($file, $whole);
    run("blocks_$codec", @args)->exited(0, "$codec, put back");
    is(ids(avro($file)), '1 2 3', "$codec, put back: nothing is missing");
}

# ---- a file that is moved away ----

for my $format (qw(avro csv)) {
    my ($file, $table) = ("$dir/moved.$format", "moved_$format");
    sql("CREATE TABLE $table (id int PRIMARY KEY)");
    my @args = (-S => $table, qw(-m never -t), $table, -F => $format, -f => $file, '--state', "$dir/$table.json", '--status-interval', '0.2',
        $format eq 'csv' ? qw(-e flink --changelog-mode upsert) : qw(-e plain));
    my $c = Cdc->start(server => $pg, db => 'shop', args => \@args);
    await(sub { ($pg->slot($table) // {})->{active} });
    insert($table);
    await(sub { (-s $file // 0) > 0 && rows($format, $file) == 1 });
    rename $file, "$file.1" or die "rename: $!";
    $c->wait_handler('HUP');
    $c->kill('HUP');
    await(sub { -e $file });
    sql("ALTER TABLE $table ADD c int; INSERT INTO $table VALUES (2, 2)");
    await(sub { rows($format, $file) == 1 });
    $c->kill('TERM');
    $c->wait->exited(0, "$format: moved away, and other columns in the new one");
    is(rows($format, "$file.1") . ' ' . rows($format, $file), '1 1', "$format: each has its own");
}

# So many records, 0 as long as it is not whole.
sub rows ($format, $path) {
    return 0 unless -s $path;
    return $format eq 'avro' ? eval { scalar(my @r = avro($path)) } // 0 : scalar(() = slurp($path) =~ /^\+I,.*\n/mg);
}
sub await ($condition) {
    my $end = time + CdcTest::Process::patient(30);
    until ($condition->()) {
        return if time > $end;
        select undef, undef, undef, 0.05;
    }
}
done_testing;
