# The examples of cdcdump(1) and of README.md, run as they stand there.
#
# An example that would go on for ever ends when it has what there is: the cdcdump found in PATH is a
# script that adds -E now.  kcat has a broker in its own process (librdkafka's mock
# cluster) and says on stdout what it has sent.  Before each example there is a change, which has to
# come out of it, as a change or within the rows.
use v5.36;
use utf8;
use CdcTest;

my $pg = PgServer->new;
for my $db (qw(shop warehouse)) {
    $pg->create_db($db)->sql($db, <<'SQL');
CREATE TABLE products (product_id int PRIMARY KEY, product_name text, price numeric(10,2));
CREATE TABLE documents (document_id int PRIMARY KEY, title text);
SQL
}

my $bin = scratch();
my $work = scratch();

sub script ($name, $text) {
    spew("$bin/$name", "#!/bin/sh\n$text\n");
    chmod 0755, "$bin/$name" or die "chmod: $!";
}
script('cdcdump', qq{case " \$* " in *" -E "* | *" initial_only "* | *-slot* | *" --check "*) ;; *) set -- "\$@" -E now ;; esac\nexec "$Cdc::BINARY" "\$@"});
script('kcat', q{exec /usr/bin/kcat -X test.mock.num.brokers=1 -X topic.partitioner=consistent -T "$@"});
script('less', 'exec cat');

my %pg = %{ $pg->env('shop') };

sub run_example ($line) {
    $line =~ s/\s+#.*//;
    return CdcTest::Process->capture(
        argv => ['bash', '-o', 'pipefail', '-c', "cd $work && $line"],
        env  => { %pg, PATH => join ':', $bin, $ENV{PATH}, PgServer::bindir() },
    );
}

# The slot that an example names, so that there is something to read behind it; rows are there.
sub prepare ($line) {
    my ($slot) = $line =~ /-S (\w+)/;
    return if !defined $slot || reads_rows($line) || $pg->slot($slot);
    return if -e "$work/$slot.json";
    $pg->sql('shop', "CREATE PUBLICATION cdcdump_$slot FOR TABLE products, documents") ;
    $pg->sql('shop', "SELECT pg_create_logical_replication_slot('$slot', 'pgoutput')");
}

sub reads_rows ($line) {
    return $line =~ /-S/ && $line !~ /-m (?:never|committed-offset)/;
}

my $id = 0;
sub change {
    $id++;
    $pg->sql('shop', <<"SQL");
INSERT INTO products VALUES ($id, 'Test Product $id', 1.50);
UPDATE products SET product_name = 'Better Product $id' WHERE product_id = $id;
INSERT INTO documents VALUES ($id, 'Paper $id');
DELETE FROM documents WHERE document_id = $id;
SQL
}

sub manual_examples {
    my ($examples) = slurp("$Cdc::TOP/man/cdcdump.1") =~ /^\.Sh EXAMPLES\n(.*?)^\.Sh/ms;
    return map { s/\\e/\\/gr } $examples =~ /^\.Dl (.*)$/mg;
}

# The code blocks of two sections; crontab lines without their times.
sub readme_examples {
    my @examples;
    my ($sections) = slurp("$Cdc::TOP/README.md") =~ /^## Rows first.*?\n(.*?^## Seven examples.*?)^## /ms;
    for my $block ($sections =~ /^```\n(.*?)^```/msg) {
        $block =~ s/(\||&&)\n\s+/$1 /g;
        push @examples, map { s{^\*/10 \* \* \* \*\s+}{}r } split /\n/, $block;
    }
    return @examples;
}

my @manual = manual_examples();
my @readme = readme_examples();
is(scalar @manual, 18, 'examples in the manual');
is(scalar @readme, 11, 'examples in README.md');

# The files that an example writes; of a name with placeholders all that there are.
sub written ($line) {
    my ($file) = $line =~ /(?:>>|-f) '?([^\s']+)/ or return;
    return glob "$work/" . $file =~ s/\{\w+\}/*/gr;
}

# What an action does is seen in what it prints, and in the slot that it is about.
my %action = (
    'create-slot' => sub ($r) { ok($pg->slot('orders'), '… and there it is') },
    'drop-slot'   => sub ($r) { ok(!$pg->slot('orders'), '… and it is gone') },
    'check'       => sub ($r) { like($r->{out}, qr/^ok: .*\n(?!.*^error:)/ms, '… and finds nothing wrong') },
    'peek'        => sub ($r) { like($r->{out}, qr/\bBetter Product $id\b/, '… and shows what was changed') },
    'list-slots'  => sub ($r) { like($r->{out}, qr/^orders\b/m, '… and lists the slot') },
);

sub try_action ($line, $where, $action) {
    my $r = run_example($line);
    is($r->{exit}, 0, "$where: $line") or diag("$r->{out}$r->{err}");
    $action{$action}->($r);
}

sub try ($line, $where) {
    if (my ($action) = $line =~ /--(@{[join '|', keys %action]})(?: |\z)/) {
        change();
        return try_action($line, $where, $action);
    }
    my $goes_on = $line =~ /--state (\S+)/ && -e "$work/$1";
    prepare($line);
    change();
    my $r = run_example($line);
    is($r->{exit}, 0, "$where: $line") or diag("$r->{out}$r->{err}");
    if ($line =~ /-d warehouse/) {
        my $all = 'SELECT * FROM products ORDER BY product_id';
        is_deeply($pg->query('warehouse', $all), $pg->query('shop', $all), '… and loads the table');
        return;
    }
    my $out = join '', $r->{out}, map { /\.avro\z/ ? `avrocat '$_'` : slurp($_) } written($line);
    like($out, $line =~ /jq .lsn/ ? qr{"[0-9A-F]+/[0-9A-F]+"} : qr/\b(?:Better|Test) Product $id\b/,
        '… and gives what was changed') or diag("$r->{out}$r->{err}");
    if (reads_rows($line) && !$goes_on) {
        like($out, qr/\bBetter Product 1\b/, '… and the rows that were there');
    }
    if ($line =~ /kcat/) {
        # kcat -T puts nothing between two messages
        like($r->{out}, qr/\{"document_id":$id\}\t(?:\z|\{"\w+_id")/,
            '… with a tombstone behind the deletion');
    }
}

try($_, 'cdcdump(1)') for @manual;
try($_, 'README') for @readme;

done_testing;
