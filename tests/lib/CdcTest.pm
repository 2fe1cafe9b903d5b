# CdcTest - the harness of all tests: one use line brings everything.
#
#   use v5.36;
#   use utf8;
#   use CdcTest;                       # Test::More, PgServer, Cdc, Oracle, what is exported here
#
#   my $pg = PgServer->new;            # a private server:   PgServer.pm
#   $pg->create_db('shop');
#   $pg->sql('shop', 'CREATE TABLE t (id int PRIMARY KEY, name text)');
#   my @stream = (server => $pg, db => 'shop', args => [qw(-S s -m never -E now --state), "$dir/s.json"]);
#
#   Cdc->run(@stream)->exited(0, 'creates the slot');         # cdcdump:   Cdc.pm
#   $pg->sql('shop', "INSERT INTO t VALUES (1, 'x')");
#   my $r = Cdc->run(@stream);
#
#   my $oracle = Oracle->new(keys => {'public.t' => ['id']}); # the judge:   Oracle.pm
#   $oracle->apply($r->records);
#   $oracle->faultless('each change once');
#   $oracle->compare($pg, 'shop', 'public.t');
#   done_testing;
#
# Run one with: prove -I tests/lib -v tests/t/000_harness.t.  Only core modules are used.
#
# Environment: CDCDUMP (binary), CDCDUMP_PG_BINDIR (server), CDCTEST_CACHE (folder for what initdb
# makes, which tests then share), CDCTEST_PATIENCE (factor for every timeout), CDCTEST_NO_LEAKS=1 (no leak detection).
#
# What the person who runs the tests has set for PostgreSQL or for a language does not reach them:
# PG* variables are removed and the locale is C, so that messages are the untranslated ones.
#
# Exported besides Test::More:
#   records($bytes, torn => 1)             decoded lines: CdcTest/Records.pm
#   canonical($data)                       one JSON text for equal data
#   gist($run)                             "r1..5 c6 u6": CdcTest/Records.pm
#   wait_until($check, $timeout, $what)    calls $check until it is true, else dies
#   throws(sub {...}, qr/.../, $name)      a test
#   scratch()                              a new temporary directory, removed at the end
#   slurp($path), spew($path, $bytes)      bytes of a file
#   lsn_num($text), lsn_text($number)
#   skip_all_without($condition, $why)     ends the file as skipped
#   skip_without($condition, $why, $n)     in a SKIP block; counted, told at the end of the file
package CdcTest;
use v5.36;

use Exporter qw(import);
use File::Temp ();
use Test::More;

BEGIN {
    delete @ENV{grep { /\APG/ } keys %ENV};
    delete $ENV{LANGUAGE};
    $ENV{LC_ALL} = 'C';
}

use Cdc;
use CdcTest::Process;
use CdcTest::Records qw(records canonical gist);
use Oracle;
use PgServer;

our @EXPORT = (@Test::More::EXPORT, qw(
    records canonical gist wait_until throws scratch slurp spew lsn_num lsn_text
    skip_all_without skip_without
));

our $TODO;    # Test::More exports it

BEGIN {
    no strict 'refs';
    *{$_} = \&{"PgServer::$_"} for qw(wait_until lsn_num lsn_text);
    # Wide characters in names and diagnostics are UTF-8.
    binmode $_, ':encoding(UTF-8)'
        for map { Test::More->builder->$_ } qw(output failure_output todo_output);
}

sub throws ($code, $regex, $name) {
    my $lived = eval { $code->(); 1 };
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return $lived ? ok(0, "$name (it did not die)") : like($@, $regex, $name);
}

my @scratch;

sub scratch () {
    push @scratch, File::Temp->newdir('cdctest-XXXXXX', TMPDIR => 1);
    return "$scratch[-1]";
}

sub slurp ($path) {
    open my $fh, '<:raw', $path or die "could not open \"$path\": $!\n";
    local $/;
    return scalar(<$fh>) // '';
}

sub spew ($path, $bytes) {
    open my $fh, '>:raw', $path or die "could not open \"$path\": $!\n";
    print $fh $bytes;
    close $fh or die "could not write \"$path\": $!\n";
}

my %skipped;    # why -> how many

sub skip_all_without ($condition, $why) {
    plan(skip_all => $why) unless $condition;
}

sub skip_without ($condition, $why, $n = 1) {
    return if $condition;
    $skipped{$why} += $n;
    skip($why, $n);
}

# prove shows what goes to stderr: a skipped test should not go unseen.
CdcTest::Process::at_end(sub ($) {
    print STDERR "# $0: skipped $skipped{$_}: $_\n" for sort keys %skipped;
});

1;
