# What tests of snapshots stand on: the oracle complains about what is wrong, and the writers do all
# that they say.
use v5.36;
use utf8;
use CdcTest;
use CdcTest::Writers;
use JSON::PP ();
use List::Util qw(first);
use Time::HiRes qw(sleep time);

# ---- records that are read fast are those of JSON::PP ----

{
    my $slow = JSON::PP->new->utf8->allow_nonref;
    my @lines = map { s/ü/\xc3\xbc/gr } '{}', '[]', '[[],{},[1,-2,0]]', 'null', '"x"', '17', '{"a":{"b":[true,false,null]},"é":"ü"}' =~ s/é/\xc3\xa9/r,
        '"a\"b\\\\c"', '"a\n\u00e4\/\ud83d\ude00"', '{"a":9223372036854775807,"b":-9223372036854775808,"c":18446744073709551616}',
        '1.5', '-0', '1e3', ' { "a" : 1 } ', '"ü"', '{"a":"","b":"' . 'x' x 100_000 . '"}', '1234567890123456789012';
    for my $line (@lines) {
        is(canonical(records("$line\n")), canonical($slow->decode($line)), 'as JSON::PP reads it: ' . substr $line, 0, 40);
    }
    for my $line ('{', '{"a":1,}', '{"a":01}', '{"a":+1}', '[1 2]', "\"a\tb\"", '"\x"', "\"\xff\"", "\"\xed\xa0\x80\"", '{}{}', 'nul', '{a:1}', '-') {
        my $verdict = eval { $slow->decode($line); 'accepted' } // 'refused';
        is(eval { records("$line\n"); 'accepted' } // 'refused', $verdict, "$verdict, as by JSON::PP: " . $line =~ s/[^ -~]/?/gr);
    }
}

# ---- the oracle, on records made by hand ----

my $commit = 0;

sub row ($id, $name = 'x') { return { id => $id, name => $name } }

sub given ($row, $mark = 'incremental') {
    return { op => 'r', before => undef, after => $row, source => { snapshot => $mark, schema => 'public', table => 't',
        txId => undef, lsn => 5, commit_lsn => undef, tx_seq => undef } };
}

sub event ($op, $old, $new, $at = ++$commit, $seq = 1) {
    return { op => $op, before => $old, after => $new, source => { snapshot => 'false', schema => 'public', table => 't',
        txId => 100 + $at, lsn => $at * 10, commit_lsn => $at * 10 + 5, tx_seq => $seq } };
}

# Problems of records, each as one line.
sub judge ($name, $expected, $records, %opts) {
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $between = delete $opts{between};
    my $oracle = Oracle->new(keys => { 'public.t' => ['id'] }, %opts);
    for my $part (ref $records->[0] eq 'ARRAY' ? @$records : $records) {
        $oracle->apply(@$part);
        $between->($oracle) if $between;
    }
    my @said = $oracle->problems;
    $expected ? ok(@said == 1 && $said[0] =~ $expected, $name) || diag(@said ? @said : 'nothing was said')
        : is("@said", '', $name);
    return $oracle;
}

my @good = (
    given(row(1)), event('u', undef, row(1, 'y')), given(row(2)), given(row(3)),
    event('u', { id => 2 }, row(7)), event('d', { id => 3 }, undef), event('c', undef, row(2)), event('c', undef, row(3)),
);
my $good = judge('a snapshot in chunks, with its stream', undef, \@good);
is(join(' ', map { $good->count($_, 'public.t') } qw(r c u d t)), '3 2 2 1 0', 'counts of a table');
is($good->count('r', 'public.other'), 0, 'of another one');
is($good->snapshots('incremental'), 3, 'rows by their mark');

judge('a doubled row', qr/\Afor a key that exists: 2 .op=r .*\), record 4: \{"after":\{"id":2,.*"op":"r"/, [@good[0 .. 2, 2]]);
judge('a row after its c', qr/\Afor a key that exists: 2 .op=r/, [@good, given(row(2))]);
judge('an old row after a newer event', qr/\Afor a key that exists: 1 .op=r/, [@good, given(row(1))]);
judge('a c for a row that was given', qr/\Afor a key that exists: 7 .op=c/, [@good, event('c', undef, row(7))]);
judge('a u for a row that was never given', qr/\Afor a key that does not exist: 4 .op=u/, [@good, event('u', undef, row(4))]);
judge('a d for a row that was never given', qr/\Afor a key that does not exist: 4 .op=d/, [@good, event('d', { id => 4 }, undef)]);
judge('a u that moves a row onto another', qr/\Afor a key that exists: 2 .op=u/, [@good, event('u', { id => 1 }, row(2))]);
judge('an event that came before', qr/\Aan event seen twice .op=d/, [@good[0 .. 5, 5, 6, 7]]);
judge('a row with an old row', qr/\Aa snapshot row with an old row/, [{ %{ given(row(1)) }, before => row(1) }]);
judge('a row with a place', qr/\Aa snapshot row with a place/, [{ %{ event('r', undef, row(1)) }, source => { %{ given(row(1))->{source} }, tx_seq => 1 } }]);
judge('a row that says it is of the stream', qr/\Aa snapshot row with snapshot "false"/, [given(row(1), 'false')]);
judge('an event that says it is of a snapshot', qr/\Aan event of the stream with snapshot "true"/,
    [do { my $e = event('c', undef, row(1)); $e->{source}{snapshot} = 'true'; $e }]);
judge('the marks of a consistent snapshot', undef, [given(row(1), 'true'), given(row(2), 'last'), event('u', undef, row(2))]);
judge('a row after the last one', qr/\Aa snapshot row after the last one/, [given(row(1), 'last'), given(row(2), 'true')]);
judge('tx_seq that goes back', qr/\Atx_seq goes back/, [map { event('c', undef, row($_), 900, $_) } 1, 3, 2], allow_gaps => 1);


# What was not accepted comes again: a row that was changed since, and the stream.
my @first = (@good[0 .. 2], given(row(3)));
my @again = (@good[1, 2], given(row(3, 'z')), event('u', undef, row(3, 'zz')));
my %resumes = (between => sub ($oracle) { $oracle->resumes });
my $oracle = judge('what comes again after a kill', undef, [\@first, \@again], %resumes, allow_duplicates => 1);
is($oracle->duplicates, 3, 'is counted');
is($oracle->rows('public.t')->{3}{name}, 'zz', 'and applied');
$oracle = judge('what comes again, taken again', undef, [[@first, event('d', { id => 3 }, undef, 2000, 1)], [event('c', undef, row(3), 1900, 1), event('d', { id => 3 }, undef, 2000, 1)]],
    %resumes, allow_duplicates => 1, relaxed => 1, again => 1);
ok(!$oracle->rows('public.t')->{3}, 'has the last word');
judge('twice in one run', qr/\Afor a key that exists: 3 .op=r/, [\@first, [@again, given(row(3))]], %resumes, allow_duplicates => 1);
judge('a row again where nothing may come again', qr/\Afor a key that exists: 3 .op=r/, [\@first, [given(row(3))]], %resumes);
judge('a snapshot that begins anew', undef, [[given(row(1), 'last')], [given(row(1), 'last')]],
    between => sub ($oracle) { $oracle->forget('public.t') });

my @loose = (@good, given(row(1)), event('d', { id => 4 }, undef), event('u', undef, row(5)));
$oracle = judge('a table whose rows may be given twice', undef, \@loose, relaxed => ['public.t']);
is($oracle->relaxed('public.t'), 3, 'is lenient so often');
judge('every table', undef, \@loose, relaxed => 1);
judge('but not another one', qr/\Afor a key that exists/, [@good, given(row(1))], relaxed => ['public.u']);

# An update left out between a row and its next event: nothing but the reference knows.
{
    my @all = (event('c', undef, row(1)), event('u', undef, row(1, 'y')), event('u', undef, row(1, 'z')), event('u', undef, row(1, 'zz')));
    my $reference = Oracle->new(keys => { 'public.t' => ['id'] }, history => 1)->apply(@all);
    my %with = (reference => $reference, allow_gaps => 1);
    $oracle = judge('a row in the middle of its stream', undef, [given(row(1, 'y')), @all[2, 3]], %with);
    is($oracle->left_out, 2, 'and what it left out');
    judge('an update left out', undef, [given(row(1, 'y')), $all[3]], allow_gaps => 1);
    judge('an update left out, with a reference', qr/\Afor a row that is not as it was before the event, but: .*"y"/, [given(row(1, 'y')), $all[3]], %with);
    judge('an old row, with a reference', qr/\Afor a row that is not as it was/, [given(row(1)), @all[2, 3]], %with);
    judge('an event that never was', qr/\Aan event that the reference does not have/, [given(row(1)), event('d', { id => 1 }, undef)], %with);
}

# ---- the writers, and the oracle on what came of them ----

my $pg = PgServer->new;
my $dir = scratch();
CdcTest::Writers::create($pg, 'shop');    # CDCTEST_SEED=N makes other choices
isnt(CdcTest::Writers::collation($pg, 'shop'), '"C"', 'a collation that is not C') or diag('of ICU or of the system');

my @stream = (server => $pg, db => 'shop');
my $out = "$dir/out";
sub args (@more) { return [qw(-S s -m never), '--state' => "$dir/s.json", @more] }
Cdc->run(@stream, args => args(-E => 'now'))->exited(0, 'a slot before the first row');
CdcTest::Writers::fill($pg, 'shop', 200);
is($pg->sql('shop', join ' UNION ALL ', map { "SELECT count(*) FROM $_" } @CdcTest::Writers::TABLES) =~ tr/\n/ /r,
    join(' ', map { $_ eq 'w_enum' ? 120 : 200 } @CdcTest::Writers::TABLES), 'rows of each table');

my $cdcdump = Cdc->start(@stream, args => args(), stdout => ">>$out");
my $begin = time;
my $writers = CdcTest::Writers->start(@stream, writers => 3, truncate => 0.01, log => $dir, seed => $ENV{CDCTEST_SEED} // 1);
$writers->until_each(30);
sleep 3 - (time - $begin) if time - $begin < 3;
ok($writers->running, 'writers write until they are told to stop');
my $report = $writers->stop;
$writers->happened;
ok($report->{done}{update} && !$report->{done}{nonsense}, 'what they did is told');
is($pg->sql('shop', 'SELECT count(*) FROM pg_prepared_xacts'), 0, 'nothing prepared stays behind');
ok(eval { wait_until(sub { $pg->sql('shop', q(SELECT count(*) FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid())) == 0 }, 10, 'the end of sessions') }, 'and no session');
like(slurp("$dir/writer-1.sql"), qr/^UPDATE w_/m, 'what a writer sent can be read');
my $ran = $cdcdump->running;
$cdcdump->stop->exited(0, 'cdcdump ran beside them');
ok($ran, 'all the time');
Cdc->run(@stream, args => args(-E => 'now'), stdout => ">>$out")->exited(0, 'and gets the rest');

my $judged = CdcTest::Writers::oracle(history => 1)->apply_file($out);
$judged->faultless('beside the writers');
CdcTest::Writers::compare($judged, $pg, 'shop', 'beside the writers');
for my $table (@CdcTest::Writers::TABLES) {
    my @counts = map { $judged->count($_, "public.$table") } qw(r c u d t);
    ok(!$counts[0] && $counts[1] && $counts[2] && $counts[3] && !!$counts[4] == ($table eq 'w_cut'), "$table: r c u d t: @counts");
}

# Its output, doctored: each time at least one problem or one difference.
my @lines = split /\n/, slurp($out);
sub line ($regex) { return first { $lines[$_] =~ $regex } int(@lines / 2) .. $#lines - 1 }
sub suspicious ($name, $expected, $lines, %opts) {
    spew("$dir/doctored", join '', map { "$_\n" } @$lines);
    my $doctored = CdcTest::Writers::oracle(%opts)->apply_file("$dir/doctored");
    my @said = ($doctored->problems, $opts{allow_gaps} ? map { $doctored->diff($pg, 'shop', "public.$_") } qw(w_big w_uuid) : ());
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    ok((first { /$expected/ } @said), $name) or diag(@said ? @said[0 .. ($#said > 4 ? 4 : $#said)] : 'nothing was said');
}

my %at = map { my $op = $_; $op => line(qr/"table":"w_big".*"op":"$op"/) } qw(c u d);
sub without ($n) { return [@lines[0 .. $n - 1, $n + 1 .. $#lines]] }
for my $op (sort keys %at) {
    suspicious("a missing $op", qr/for a key|row that is not as it was|w_big: model/, without($at{$op}), allow_gaps => 1, reference => $judged);
    my ($n, @doubled) = ($at{$op} + 2, @lines[0 .. $at{$op}], @lines[$at{$op} .. $#lines]);
    suspicious("a doubled $op", qr/an event seen twice .* doctored line $n: /, \@doubled);
}
my $second = line(qr/"tx_seq":2\}/);
suspicious('a missing event, by its number', qr/tx_seq is not 1/, without($second - 1));
my $row = $lines[$at{c}] =~ s/"op":"c"/"op":"r"/r =~ s/"txId":\d+/"txId":null/r =~ s/"commit_lsn":\d+,"tx_seq":\d+/"commit_lsn":null,"tx_seq":null/r
    =~ s/"snapshot":"false"/"snapshot":"incremental"/r;
suspicious('an r after a c', qr/for a key that exists: .*op=r.* doctored line @{[$at{c} + 2]}: /, [@lines[0 .. $at{c}], $row, @lines[$at{c} + 1 .. $#lines]]);

# ---- a writer that fails ----

$writers = CdcTest::Writers->start(@stream, writers => 1, hold => undef, tables => ['w_cat'], only => ['update']);
is_deeply([$writers->missing], ['update', 'async'], 'what has not happened yet');
$writers->until_each(10);
$pg->sql('shop', 'DROP TABLE w_cat');
wait_until(sub { !$writers->running }, 10, 'the end of a writer whose table is gone');
throws(sub { $writers->stop }, qr/\Awriter 1 failed: ERROR:  42P01/, 'fails the test');

done_testing;
