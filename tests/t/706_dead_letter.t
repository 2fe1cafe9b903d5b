# --dead-letter: what cannot be decoded or encoded is put aside, and the capture goes on.  At the end the
# examples of the manual and of README.md for this and the other ways to accept output.
use v5.36;
use CdcTest;
use JSON::PP ();
use MIME::Base64 qw(decode_base64);

my $pg = PgServer->new;
my $dir = scratch();
# A database in which texts have no encoding: of some of them there are no characters.
$pg->sql('postgres', q(CREATE DATABASE raw ENCODING 'SQL_ASCII' TEMPLATE template0 LOCALE 'C'));
$pg->sql('raw', 'CREATE TABLE t (id int PRIMARY KEY, name text); CREATE TABLE n (id int PRIMARY KEY, price numeric(10,2))');

sub args ($name, @more) { return [-S => $name, '-m' => 'never', -e => 'plain', '--state' => "$dir/$name.json", -E => 'now', @more] }
sub start ($name, $stdout, @more) { return Cdc->start(server => $pg, db => 'raw', stdout => $stdout, args => args($name, @more)) }
sub run ($name, @more) { return start($name, 'pipe', @more)->wait }
sub dead ($name) { return "$dir/$name.dead" }
sub with ($name) { return ('--dead-letter' => dead($name)) }

sub begin ($name, @more) {
    start($name, 'null', @more)->wait->exited(0, "$name: a slot");
}

# What has been put aside.
sub letters ($name) { return -e dead($name) ? records(slurp(dead($name))) : () }

sub saved ($name) { return lsn_num(JSON::PP->new->decode(slurp("$dir/$name.json"))->{lsn}) }
sub confirmed ($name) { return lsn_num($pg->slot($name)->{confirmed_flush_lsn}) }
sub places (@records) { return join ' ', map { "$_->{seq}:" . ($_->{row} // $_->{key})->{id} } @records }

my @members = qw(lsn commit_lsn xid seq schema table reason bytes);

# ---- options ----

{
    my $r = run('never', '--dead-letter' => "$dir/none/dead");
    $r->exited(5, 'a file that cannot be made');
    like($r->err, qr/\Q$dir\E\/none\/dead/, '… is named');
    $r = run('never', '--dead-letter' => $dir);
    $r->exited(5, 'a folder');
    is($pg->slot('never'), undef, 'neither creates a slot');
}

# ---- a change that cannot be encoded ----

{
    my $name = 'changes';
    begin($name);
    $pg->sql('raw', q(INSERT INTO t VALUES (1, 'before')));
    $pg->sql('raw', q(BEGIN; INSERT INTO t VALUES (2, 'good'); INSERT INTO t VALUES (3, E'b\xffd'); INSERT INTO t VALUES (4, 'good'); UPDATE t SET name = E'\xfe' WHERE id = 4; DELETE FROM t WHERE id = 2; COMMIT));
    $pg->sql('raw', q(INSERT INTO t VALUES (5, 'after')));
    my $r = run($name);
    $r->exited(1, 'without the option it ends the run');
    my ($reason) = $r->err =~ /^cdcdump: error: (.*)$/m;
    like($reason, qr/column "name" of table "public\.t".*not valid UTF-8/, '… with an error');
    # what precedes it in the output is given again from the start of its transaction
    $r = run($name, with($name));
    $r->exited(0, 'with it the run goes on');
    my @records = $r->records;
    is(places(grep { $_->{row} && $_->{row}{id} != 1 or !$_->{row} } @records), '1:2 3:4 5:2 1:5', '… and the others keep their numbers')
        or diag($r->out);
    my @letters = letters($name);
    is(scalar @letters, 2, 'two letters');
    is(join(' ', sort keys %{$_}), join(' ', sort @members), 'with all members') for @letters;
    my ($second) = grep { $_->{row} && $_->{row}{id} == 4 } @records;
    is("$letters[0]{seq} $letters[1]{seq}", '2 4', 'their places in the transaction');
    is($_->{commit_lsn}, $second->{commit_lsn}, 'whose commit they name') for @letters;
    is($_->{xid}, $second->{xid}, '… and its number') for @letters;
    is("$_->{schema}.$_->{table}", 'public.t', 'the table') for @letters;
    my ($before, $after) = map { my $s = $_; grep { $_->{commit_lsn} eq $second->{commit_lsn} && $_->{seq} == $s } @records } 1, 3;
    ok(lsn_num($before->{lsn}) < lsn_num($letters[0]{lsn}) && lsn_num($letters[0]{lsn}) < lsn_num($after->{lsn}), 'the LSN of the change')
        or diag("$before->{lsn} $letters[0]{lsn} $after->{lsn}");
    like($letters[0]{reason}, qr/column "name".*not valid UTF-8/s, 'the reason');
    my $bytes = decode_base64($letters[0]{bytes});
    like($bytes, qr/\AI.*N.*3.*b\xffd/s, 'the message as it came');
    like(decode_base64($letters[1]{bytes}), qr/\AU.*\xfe/s, '… and that of the update');
    is(scalar(() = $r->err =~ /^cdcdump: warning: .*(?:\n|\z)/mg), 2, 'a warning for each') or diag($r->err);
    unlike($r->err, qr/^cdcdump: error:/m, 'and no error');
    like($r->err, qr/\Q${\dead($name)}\E|dead letter/, '… that says where it is');
    cmp_ok(saved($name), '>', lsn_num($second->{commit_lsn}), 'the position is behind them');
    is(confirmed($name), saved($name), '… and the slot');

    my $content = slurp(dead($name));
    run($name, with($name))->exited(0, 'the next run');
    is(slurp(dead($name)), $content, '… has nothing to put aside');
    $pg->sql('raw', q(INSERT INTO t VALUES (6, E'\xff')));
    $r = run($name, with($name));
    $r->exited(0, 'a transaction of which nothing is left');
    is($r->out, '', '… gives nothing');
    is(substr(slurp(dead($name)), 0, length $content), $content, 'letters are appended');
    @letters = letters($name);
    is(scalar @letters, 3, '… one each');
    is($letters[2]{seq}, 1, '… with its place');
    cmp_ok(saved($name), '>', lsn_num($letters[2]{commit_lsn}), 'and the position is behind it');
    cmp_ok((stat dead($name))[2] & 07777, '<=', 0644, 'nobody else may write there');
}

# ---- into a file, several files ----

for my $way ('file', 'files') {
    my $name = "to_$way";
    my $file = $way eq 'file' ? "$dir/$name.out" : "$dir/$name.{table}.out";
    begin($name, -f => $file);
    $pg->sql('raw', q(BEGIN; DELETE FROM t; INSERT INTO t VALUES (1, 'good'), (2, E'\xff'), (3, 'good'); COMMIT; INSERT INTO t VALUES (4, 'good')));
    my $r = start($name, 'null', -f => $file, with($name))->wait;
    $r->exited(0, "$way: goes on");
    my @records = grep { $_->{op} eq 'c' } records(slurp($file =~ s/\{table\}/t/r));
    is(join(' ', map { $_->{row}{id} } @records), '1 3 4', "$way: with the others");
    is($records[1]{seq} - $records[0]{seq}, 2, "$way: and a gap");
    is(scalar(letters($name)), 1, "$way: one letter");
}

# ---- a row of a snapshot ----

for my $kind ('consistent', 'incremental') {
    my $name = "rows_$kind";
    $pg->sql('raw', q(TRUNCATE t, n; INSERT INTO t VALUES (1, 'good'), (2, E'ro\xffw'), (3, 'good'), (4, E'\xfe')));
    my @more = ('-m' => 'initial', "--snapshot=$kind", -e => 'debezium');
    my $r = run($name, @more, with($name));
    $r->exited(0, "$kind: rows");
    is(gist($r), 'r1 r3', "$kind: the others are given");
    my @letters = letters($name);
    is(scalar @letters, 2, "$kind: two letters");
    my $letter = $letters[0];
    is("$letter->{schema}.$letter->{table}", 'public.t', "$kind: the table");
    is($letter->{$_}, undef, "$kind: no $_") for qw(commit_lsn xid seq);
    like($letter->{lsn}, qr{\A[0-9A-F]+/[0-9A-F]+\z}, "$kind: as of which position");
    like(decode_base64($letter->{bytes}), qr/\A2\tro\xffw\n?\z/, "$kind: the row as COPY writes it");
    like($letter->{reason}, qr/column "name".*not valid UTF-8/s, "$kind: the reason");
    $r = run($name, @more, with($name));
    is($r->out, '', "$kind: nothing comes again");
    is(scalar(letters($name)), 2, "$kind: nor is it put aside again");
}

# ---- values that a format does not hold ----

SKIP: {
    my $name = 'avro';
    my @avro = (-F => 'avro', '--codec' => 'null', -t => 'n');
    begin($name, @avro);
    $pg->sql('raw', q(BEGIN; INSERT INTO n VALUES (1, 1.5), (2, 'NaN'), (3, 2.5); COMMIT));
    start($name, 'null', @avro)->wait->exited(1, 'Avro: NaN ends the run without the option');
    my $r = start($name, ">$dir/$name.avro", @avro, with($name))->wait;
    $r->exited(0, 'Avro: and does not with it');
    my @letters = letters($name);
    is(scalar @letters, 1, 'Avro: one letter');
    is($letters[0]{seq}, 2, 'Avro: its place');
    like($letters[0]{reason}, qr/NaN/, 'Avro: the reason');
    my $avrocat = CdcTest::Process::find_program('avrocat');
    skip_without($avrocat, 'no avrocat', 1);
    my $text = CdcTest::Process->capture(argv => [$avrocat, "$dir/$name.avro"])->{out};
    is(join(' ', $text =~ /"seq": \{"long": (\d+)\}/g), '1 3', 'Avro: the others are whole') or diag($text);
}

# ---- an identity that changes in mid-stream ----

{
    my $name = 'flink';
    $pg->sql('raw', 'CREATE TABLE f (id int PRIMARY KEY, v int); ALTER TABLE f REPLICA IDENTITY FULL');
    my @flink = (-e => 'flink', -t => 'f');
    begin($name, @flink);
    $pg->sql('raw', q(INSERT INTO f VALUES (1, 1); UPDATE f SET v = 2; ALTER TABLE f REPLICA IDENTITY DEFAULT; UPDATE f SET v = 3;
        ALTER TABLE f REPLICA IDENTITY FULL; UPDATE f SET v = 4));
    my $c = run($name, @flink);    # what it gives may be on record, or come again
    $c->exited(2, 'flink: an update without its old row ends the run without the option');
    my $r = run($name, @flink, with($name));
    $r->exited(0, 'flink: and does not with it');
    like(join(' ', $r->out =~ /"row_kind":"(..)".*?"v":(\d)/g), qr/(?:\A|\+U 2 )-U 3 \+U 4\z/, 'flink: what follows is given') or diag($r->out . $r->err);
    my @letters = letters($name);
    is(scalar @letters, 1, 'flink: one letter');
    is("$letters[0]{schema}.$letters[0]{table}", 'public.f', 'flink: of that table');
    like(decode_base64($letters[0]{bytes} // ''), qr/\AU/, 'flink: the message');
}

# An event is given as a whole or not at all, also where it is two records.
{
    my $name = 'halves';
    my @flink = (-e => 'flink', -t => 'h');
    $pg->sql('raw', 'CREATE TABLE h (id int PRIMARY KEY, v text); ALTER TABLE h REPLICA IDENTITY FULL');
    begin($name, @flink);
    $pg->sql('raw', q(INSERT INTO h VALUES (1, 'a'); UPDATE h SET v = E'\xff'; UPDATE h SET v = 'b'; UPDATE h SET v = 'c'));
    my $r = run($name, @flink, with($name));
    $r->exited(0, 'flink: updates from and to what cannot be written');
    is(join(' ', $r->out =~ /"row_kind":"(..)".*?"v":"(.)"/g), '+I a -U b +U c', 'flink: are left out as a whole');
    is(scalar(letters($name)), 2, 'flink: one letter each');
}

# ---- with the other ways to accept output ----

{
    my $name = 'acked';
    begin($name);
    $pg->sql('raw', q(DELETE FROM t));
    start($name, 'null')->wait->exited(0, 'acked: on');
    $pg->sql('raw', q(INSERT INTO t VALUES (1, 'good'); INSERT INTO t VALUES (2, E'\xff')));
    pipe my $from, my $to or die "pipe: $!";
    my $c = Cdc->start(server => $pg, db => 'raw', args => args($name, '--ack-mode=reply', '--ack-fd=3', with($name)), fds => { 3 => $from });
    close $from;
    my ($line) = $c->read_lines(1);
    my ($commit) = $line =~ /"commit_lsn":"([^"]+)"/;
    syswrite $to, "$commit\n";
    my $r = $c->wait(15);
    $r->exited(0, 'reply: nobody has to acknowledge what was put aside');
    my ($letter) = letters($name);
    cmp_ok(saved($name), '>', lsn_num($letter->{commit_lsn}), '… and the position is behind it');

    $pg->sql('raw', q(INSERT INTO t VALUES (3, E'\xff')));
    $r = run($name, '--exec=echo command; cat', with($name));
    $r->exited(0, '--exec: a batch of which nothing is left');
    is($r->out, '', '… is none');
    cmp_ok(saved($name), '>', lsn_num((letters($name))[1]{commit_lsn}), '… and the position is behind it');
    $pg->sql('raw', q(BEGIN; INSERT INTO t VALUES (4, 'good'), (5, E'\xff'), (6, 'good'); COMMIT));
    $r = run($name, '--exec=cat', with($name));
    is(places($r->records), '1:4 3:6', '--exec: the others are given');
    is(scalar(letters($name)), 3, '… and one is put aside');
    $pg->sql('raw', q(INSERT INTO t VALUES (7, E'\xff')));
    my $before = [saved($name), confirmed($name)];
    $r = run($name, '--ack-mode=deferred', with($name));
    $r->exited(0, 'deferred: nothing but a letter');
    is_deeply([saved($name), confirmed($name)], $before, '… which acknowledges nothing');
    Cdc->run(server => $pg, db => 'raw', args => ['--ack', '--state' => "$dir/$name.json"])->exited(0, '--ack');
    cmp_ok(saved($name), '>', lsn_num((letters($name))[-1]{commit_lsn}), '… puts the position behind it');
}

# ---- other plugins ----

{
    my $name = 'words';
    begin($name, -P => 'test_decoding', -t => 't');
    $pg->sql('raw', q(BEGIN; DELETE FROM t; INSERT INTO t VALUES (1, 'good'); INSERT INTO t VALUES (2, E'b\xffd'); INSERT INTO t VALUES (3, 'good'); COMMIT));
    my $r = run($name, -P => 'test_decoding', -t => 't', with($name));
    $r->exited(0, 'test_decoding');
    is(join(' ', map { $_->{row}{id} } grep { $_->{op} eq 'c' } $r->records), '1 3', 'test_decoding: the others');
    my ($letter) = letters($name);
    is($letter->{commit_lsn}, undef, 'test_decoding: members that are not known are null');
    like(decode_base64($letter->{bytes}), qr/\Atable public\.t: INSERT: .*b\xffd/, 'test_decoding: the message');
}

# ---- the order: letters, then the position ----

{
    my $name = 'order';
    begin($name);
    $pg->sql('raw', q(DELETE FROM t; INSERT INTO t VALUES (1, E'\xff')));
    my $before = [saved($name), confirmed($name)];
    my $r = run($name, '--dead-letter' => '/dev/full');
    $r->exited(5, 'letters that cannot be written');
    like($r->err, qr{/dev/full.*No space left on device}, '… are an error');
    is_deeply([saved($name), confirmed($name)], $before, '… and nothing behind them is acknowledged')
        or diag(lsn_text(saved($name)));

    my $strace = CdcTest::Process::find_program('strace');
    my $works = $strace && CdcTest::Process->capture(argv => [$strace, '-o', '/dev/null', 'true'])->{exit} == 0;
    SKIP: {
        skip_without($works, 'strace does not work here', 3);
        my $trace = "$dir/trace";
        my $file = dead($name);
        $r = Cdc->run(server => $pg, db => 'raw', args => args($name, with($name)), env => { ASAN_OPTIONS => 'detect_leaks=0:exitcode=99' },
            wrap => [$strace, '-qq', '-y', '-o', $trace, '-e', 'trace=write,fsync,fdatasync,rename']);
        $r->exited(0, 'a run that is looked at');
        my @steps = map { /^(?:fsync|fdatasync)\(\d+<\Q$file\E>/ ? 'sync' : /^write\(\d+<\Q$file\E>/ ? 'letter'
            : /^rename\(".*\Q$name.json"\E/ ? 'position' : () } split /\n/, slurp($trace);
        my $steps = join ' ', @steps;
        like($steps, qr/letter (?:letter )*sync .*position/, 'it syncs letters before it puts a position on record');
        unlike($steps, qr/letter (?:letter )*position/, '… always') or diag($steps);
    }
}

# ---- with a reader that goes ----

{
    my $name = 'piped';
    begin($name);
    $pg->sql('raw', q(TRUNCATE t; INSERT INTO t SELECT g, CASE WHEN g % 100 = 0 THEN E'\xff' ELSE 'good' END FROM generate_series(1, 5000) g));
    my $c = start($name, 'pipe', with($name));
    $c->read_lines(1);
    ok($c->kill('KILL'), 'killed in the midst of a transaction');
    $c->wait;
    my $r = run($name, with($name));
    $r->exited(0, 'the next run');
    my @records = $r->records;
    is(scalar(grep { $_->{op} eq 'c' } @records), 4950, '… gives all that can be given');
    my %letters = map { ("$_->{commit_lsn} $_->{seq}" => 1) } letters($name);
    is(scalar keys %letters, 50, '… and each letter is there, by its place');
    is(scalar(grep { $letters{"$_->{commit_lsn} $_->{seq}"} } @records), 0, '… which no record has');
}

# ---- the examples ----

# As 300_manual.t does it: kcat has a broker in its own process, and says on stdout what it has sent.
{
    my ($bin, $work) = (scratch(), scratch());
    my $script = sub ($name, $text) {
        spew("$bin/$name", "#!/bin/sh\n$text\n");
        chmod 0755, "$bin/$name" or die "chmod: $!";
    };
    $script->('cdcdump', qq{exec "$Cdc::BINARY" "\$@"});
    $script->('kcat', q{exec /usr/bin/kcat -X test.mock.num.brokers=1 -X topic.partitioner=consistent -T "$@"});
    $pg->sql('postgres', q(CREATE DATABASE shop ENCODING 'SQL_ASCII' TEMPLATE template0 LOCALE 'C'));
    $pg->sql('shop', 'CREATE TABLE products (product_id int PRIMARY KEY, product_name text); CREATE TABLE documents (document_id int PRIMARY KEY, title text)');
    $pg->create_db('warehouse')->sql('warehouse', q(CREATE TABLE changes (op text, commit_lsn bigint, tx_seq bigint, xid bigint,
        ts timestamptz, "schema" text, "table" text, key jsonb, before jsonb, after jsonb)));

    my ($manual) = slurp("$Cdc::TOP/man/cdcdump.1") =~ /^\.Ss Choosing how output is accepted\n(.*?)^\.Sh/ms;
    my @manual = map { s/\\e/\\/gr =~ s/\\\(aq/'/gr } $manual =~ /^\.Bd -literal -offset indent\n(.*?)^\.Ed/msg;
    my ($readme) = slurp("$Cdc::TOP/README.md") =~ /^## Choosing how output is accepted\n(.*?)^## /ms;
    my @readme = $readme =~ /^```\n(.*?)^```/msg;
    is(scalar @manual, 4, 'examples in the manual');
    is(scalar @readme, 4, 'examples in README.md');

    my $id = 0;
    my $change = sub ($bad) {
        $id++;
        $pg->sql('shop', "BEGIN; INSERT INTO products VALUES ($id, 'Test Product $id'); INSERT INTO documents VALUES ($id, 'Paper'); COMMIT");
        $pg->sql('shop', "INSERT INTO products VALUES (-$id, E'not\\xffwell')") if $bad;
    };
    my $go = sub ($example) {
        return CdcTest::Process->capture(argv => ['bash', '-e', '-o', 'pipefail', '-c', $example], cwd => $work,
            env => { %{ $pg->env('shop') }, PATH => join ':', $bin, $ENV{PATH}, PgServer::bindir() });
    };
    # What the last change has left where the example puts it.
    my %left = (
        feed   => sub ($r) { $r->{out} =~ /Test Product $id"/ },
        load   => sub ($r) { $pg->sql('warehouse', "SELECT count(*) FROM changes WHERE after->>'product_name' = 'Test Product $id' AND commit_lsn > 0") == 1 },
        parts  => sub ($r) { grep { /Test Product $id"/ } map { CdcTest::Process->capture(argv => ['gzip', '-dc', $_])->{out} } glob "$work/products.*.gz" },
        inbox  => sub ($r) { -e "$work/inbox.ndjson" && slurp("$work/inbox.ndjson") =~ /Test Product $id"/ },
        strict => sub ($r) { slurp("$work/strict.ndjson") =~ /Test Product $id"/ && $r->{out} =~ /^public\tproducts\t.*not valid UTF-8/m },
    );
    # a bad change is in the way of all slots: those that put it aside come last
    for my $case (sort { $a->[1] =~ /dead/ <=> $b->[1] =~ /dead/ } (map { ['manual', $_] } @manual), map { ['README', $_] } @readme) {
        my ($where, $example) = @$case;
        my @slots = $example =~ /-S (\w+)/g;
        # a slot, so that there is something behind it
        for my $slot (grep { !$pg->slot($_) } @slots) {
            Cdc->run(server => $pg, db => 'shop', stdout => 'null', args => [-S => $slot, -m => 'never', '--state' => "$work/$slot.json", -E => 'now'])
                ->exited(0, "$slot: a slot");
        }
        unlink "$work/acks";
        $change->("@slots" eq 'strict');
        my $r = $go->($example);
        is($r->{exit}, 0, "$where: @slots") or diag("$example$r->{out}$r->{err}");
        ok($left{$_}->($r), "$where: $_ gives what was changed") or diag("$r->{out}$r->{err}") for @slots;
        # the mark of its end is a record, too, where transactions are told
        my @again = map { grep { $_->{op} !~ /begin|end/ } Cdc->run(server => $pg, db => 'shop',
            args => [-S => $_, -m => 'never', -e => 'plain', '--state' => "$work/$_.json", -E => 'now'])->records } grep { $_ ne 'strict' } @slots;
        is(scalar @again, 0, "$where: it is accepted") or diag(canonical(\@again));
    }
}

done_testing;
