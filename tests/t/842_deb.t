# make deb: the package is built, lintian has nothing to say, dpkg installs it, it works, and nothing
# is left of it when it is removed.
#
# dpkg installs into a folder instead of the machine, with a copy of what it knows to be installed here:
# what the package depends on has to be on this machine, which is left alone.
use v5.36;
use utf8;
use CdcTest;
use File::Find ();

skip_all_without($Cdc::BINARY !~ m{/sanitize/} && slurp($Cdc::BINARY) !~ /__asan_init/, 'no package is built with the sanitizers');
for my $tool (qw(dpkg-deb dpkg-gencontrol dpkg-shlibdeps lintian)) {
    skip_all_without(CdcTest::Process::find_program($tool), "no $tool here; tests/setup deb installs it");
}

my $dir = scratch();
chmod 0755, $dir;
my %no_make = map { $_ => undef } qw(MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES SANITIZE STRICT PREFIX DESTDIR SOURCE_DATE_EPOCH);

sub run (@argv) { return CdcTest::Process->capture(argv => [@argv], timeout => 120, env => {%no_make}) }

sub build ($name, @env) {
    my $r = CdcTest::Process->capture(timeout => 120, env => { %no_make, @env }, argv => ['/bin/sh', '-c', 'umask 077; exec make -s "$@"', 'sh', '-C', $Cdc::TOP, 'run-deb',
        "DEB=$dir/$name", "BUILD=$dir/b", "BINARY=$Cdc::BINARY", '-o', $Cdc::BINARY]);
    is($r->{exit}, 0, "make deb: $name") or BAIL_OUT($r->{err});
    is($r->{err}, '', '… without a complaint');
    my ($deb, @more) = glob "$dir/$name/*";
    is(scalar(@more), 0, '… nothing but the package') or diag("@more");
    return $deb;
}

# ---- built ----

my ($version) = Cdc->run(args => ['--version'])->out =~ /(\S+)\n/;
my $arch = run('dpkg', '--print-architecture')->{out} =~ s/\n//r;
my $deb = build('first');
is($deb, "$dir/first/cdcdump_$version-1_$arch.deb", 'its name has version and architecture');
is(slurp(build('second')), slurp($deb), 'built again: the same bytes');
isnt(slurp(build('later', SOURCE_DATE_EPOCH => 2000000000)), slurp($deb), 'with another date: others');

my $lint = run('lintian', '--allow-root', '--display-info', '--show-overrides', $deb);
is($lint->{exit}, 0, 'lintian accepts it');
my @tags = grep { !/^N:/ } split /\n/, $lint->{out};
is_deeply([map { /^(O: \S+ \S+)/ ? $1 : $_ } @tags], ['O: cdcdump: initial-upload-closes-no-bugs'], '… and nothing else but what is overridden, for the reason that the file tells')
    or diag($lint->{out} . $lint->{err});

my $control = run('dpkg-deb', '-f', $deb)->{out};
like($control, qr/^Depends: .*\blibpq5\b/m, 'what it needs has been found out');
like($control, qr/^Depends:(?=.*\blibcjson1\b)(?=.*\bzlib1g\b)(?=.*\blibzstd1\b)(?=.*\blibsnappy1)(?=.*\blibc6\b)/m, '… all of it');
unlike($control, qr/^Depends:.*\b(?:libavro|librdkafka|libasan)/m, '… and no more');
my @list = split /\n/, run('dpkg-deb', '-c', $deb)->{out};
is(scalar(grep { !m{^\S+ root/root } } @list), 0, 'all belongs to root');
is(scalar(grep { !/^(?:drwxr-xr-x|-rw-r--r--|-rwxr-xr-x) / } @list), 0, 'with modes that do not come from an umask');

# ---- installed ----

my ($root, $admin) = ("$dir/root", "$dir/admin");
mkdir $_ or die "mkdir: $!" for $root, $admin, map { "$admin/$_" } qw(info updates triggers);
is(run('cp', '/var/lib/dpkg/status', $admin)->{exit}, 0, 'what is installed here');
my @dpkg = ('dpkg', "--instdir=$root", "--admindir=$admin", "--log=$dir/log", '--force-not-root', '--force-bad-path', '--force-unsafe-io');
my $known = run('dpkg-query', "--admindir=$admin", '-W', '-f', '${db:Status-Status}', 'cdcdump')->{out};

# The contents of a folder: path => mode, or what a link points to.
sub tree ($top) {
    my %found;
    File::Find::find({ no_chdir => 1, wanted => sub { $found{ substr $_, length $top } = -d $_ ? 'folder' : 'file' } }, $top);
    delete $found{''};
    return \%found;
}

SKIP: {
    skip_without($known !~ /installed|config/, 'a package cdcdump is installed on this machine', 1);
    my $r = run(@dpkg, '-i', $deb);
    is($r->{exit}, 0, 'dpkg -i') or diag($r->{out} . $r->{err});
    is(run('dpkg-query', "--admindir=$admin", '-W', '-f', '${db:Status-Status} ${Version}', 'cdcdump')->{out}, "installed $version-1", '… and knows it');
    is(run(@dpkg, '--verify', 'cdcdump')->{out}, '', '… and finds what the package says');
    my $files = tree($root);
    is(scalar(keys %$files), @list - 1, 'everything is there');
    for my $path (sort keys %$files) {
        my $stat = sprintf '%o', (stat "$root$path")[2] & 07777;
        is($stat, $path =~ m{/(?:usr/bin/cdcdump|cdcdump-cron)\z} || -d "$root$path" ? '755' : '644', "mode of $path");
    }

    # ---- hardened, stripped, documented ----

    my $program = "$root/usr/bin/cdcdump";
    my $headers = run('readelf', '-hldW', $program)->{out};
    like($headers, qr/Type:\s+DYN/, 'position-independent');
    like($headers, qr/GNU_RELRO/, 'relro');
    like($headers, qr/BIND_NOW|FLAGS_1.*NOW/, 'bound at the start');
    my $symbols = run('readelf', '--dyn-syms', '-W', $program)->{out};
    like($symbols, qr/__\w+_chk\b/, 'fortified');
    like($symbols, qr/__stack_chk_fail/, 'with stack protection');
    unlike(run('readelf', '-SW', $program)->{out}, qr/\.symtab|\.debug/, 'stripped');
    unlike(slurp($program), qr/\Q$Cdc::TOP\E/, 'without a word about where it was built');
    my $page = CdcTest::Process->capture(argv => ['/bin/sh', '-c', 'gzip -dc "$1" | mandoc -T lint -W warning', 'sh', "$root/usr/share/man/man1/cdcdump.1.gz"]);
    is($page->{exit}, 0, 'the manual') or diag($page->{out});
    my $unit = slurp("$root/usr/lib/systemd/system/cdcdump\@.service");
    like($unit, qr{^ExecStart=/usr/bin/cdcdump }m, 'the unit calls it');
    ok(!-e "$root/etc", 'and is not enabled');
    ok(-s "$root/usr/share/zsh/vendor-completions/_cdcdump", "zsh's completion where Debian's zsh looks");

    # ---- run ----

    my $pg = PgServer->new(tcp => 0);
    $pg->create_db('shop');
    my $smoke = CdcTest::Process->capture(argv => ["$Cdc::TOP/contrib/debian/tests/smoke"], timeout => 60,
        env => { %{ $pg->env('shop') }, PATH => "$root/usr/bin:" . PgServer::bindir() . ":$ENV{PATH}" });
    is($smoke->{exit}, 0, 'the installed program works') or diag($smoke->{err});
    is($smoke->{out}, "cdcdump works: r u d \n", '… and says so');
    is($smoke->{err}, '', '… without a complaint');
    is($pg->sql('shop', "SELECT count(*) FROM pg_replication_slots"), 0, '… and leaves no slot');
    my $broken = scratch();
    spew("$broken/cdcdump", "#!/bin/sh\nexec '$program' \"\$@\" --skip-ops=u\n");
    chmod 0755, "$broken/cdcdump";
    $smoke = CdcTest::Process->capture(argv => ["$Cdc::TOP/contrib/debian/tests/smoke"], timeout => 60,
        env => { %{ $pg->env('shop') }, PATH => "$broken:" . PgServer::bindir() . ":$ENV{PATH}" });
    isnt($smoke->{exit}, 0, 'of a program that loses changes it says otherwise');

    # ---- removed ----

    $r = run(@dpkg, '-r', 'cdcdump');
    is($r->{exit}, 0, 'dpkg -r') or diag($r->{out} . $r->{err});
    is(join(' ', sort keys %{ tree($root) }), '', 'nothing is left');
    isnt(run('dpkg-query', "--admindir=$admin", '-W', 'cdcdump')->{exit}, 0, 'dpkg does not know it any more');
}

done_testing;
