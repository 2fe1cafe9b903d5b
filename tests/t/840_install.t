# make install and uninstall: what is put where, with which modes, and that just that is removed.
use v5.36;
use utf8;
use CdcTest;
use File::Find ();

# What CDCDUMP names is installed as it is: -o keeps it from being built anew.
my $dir = scratch();
chmod 0755, $dir;
my @no_make = map { $_ => undef } qw(MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES SANITIZE STRICT PREFIX DESTDIR);

sub make ($umask, @args) {
    my $r = CdcTest::Process->capture(
        argv => ['/bin/sh', '-c', qq(umask $umask; exec make -s "\$@"), 'sh', '-C', $Cdc::TOP, "BUILD=$dir/b", "BINARY=$Cdc::BINARY", '-o', $Cdc::BINARY, @args],
        env  => {@no_make},
    );
    is($r->{exit}, 0, "make @args") or diag($r->{err});
    is($r->{err}, '', '… without a complaint');
    return $r;
}

# Of each file its mode, by path below a folder; folders end in "/".
sub tree ($top) {
    my %found;
    File::Find::find({ no_chdir => 1, wanted => sub {
        my $mode = (lstat)[2];
        $found{ substr($_, length $top) . (-d _ ? '/' : '') } = sprintf '%o', $mode & 07777;
    } }, $top);
    delete $found{'/'};
    return \%found;
}

my %files = (
    'bin/cdcdump' => '755',
    'share/man/man1/cdcdump.1' => '644',
    'share/bash-completion/completions/cdcdump' => '644',
    'share/zsh/site-functions/_cdcdump' => '644',
    (map { ("share/doc/cdcdump/$_" => '644') } qw(README.md copyright), map { "examples/$_" } qw(cdcdump.conf cdcdump.cron cdcdump.logrotate cdcdump@.service)),
    'share/doc/cdcdump/examples/cdcdump-cron' => '755',
);
my %folders = map { my @parts = split m{/}; pop @parts; map { (join('/', @parts[0 .. $_]) . '/' => '755') } 0 .. $#parts } keys %files;
my %expected = (%files, %folders);

for my $umask ('022', '077') {
    my $prefix = $umask eq '022' ? '/usr/local' : "/opt/two words";
    my $to = "$dir/to$umask";
    make($umask, 'install', "DESTDIR=$to", "PREFIX=$prefix");
    is_deeply({ map { substr($_, length "$prefix/") => tree($to)->{$_} } grep { index($_, "$prefix/") == 0 && $_ ne "$prefix/" } keys %{ tree($to) } },
        \%expected, "umask $umask: files and modes");
    is_deeply([grep { !m{/\z} && index($_, "$prefix/") } keys %{ tree($to) }], [], '… and none elsewhere');
    is(slurp("$to$prefix/bin/cdcdump"), slurp($Cdc::BINARY), 'the program');
    like(slurp("$to$prefix/share/doc/cdcdump/examples/cdcdump\@.service"), qr{^ExecStart=\Q$prefix\E/bin/cdcdump }m, 'the unit names it where it is');
    next if $umask eq '022';
    make($umask, 'uninstall', "DESTDIR=$to", "PREFIX=$prefix");
    is_deeply([grep { !m{/\z} || m{/cdcdump/\z} } keys %{ tree($to) }], [], 'uninstall removes it all');
}

# What is there already keeps its mode; what is somebody else's stays.
{
    my $to = "$dir/to022";
    my $prefix = "$to/usr/local";
    chmod 02775, "$prefix/bin";
    chmod 0600, "$prefix/share/man/man1/cdcdump.1";
    spew("$prefix/bin/other", 'x');
    spew("$prefix/share/doc/cdcdump/examples/mine", 'x');
    my $before = tree($to);
    make('022', 'install', "DESTDIR=$to");
    is_deeply(tree($to), { %$before, '/usr/local/share/man/man1/cdcdump.1' => '644' }, 'again: the same, and folders keep their modes');
    my $version = CdcTest::Process->capture(argv => ["$prefix/bin/cdcdump", '--version']);
    is($version->{out}, Cdc->run(args => ['--version'])->out, 'it runs from there');
    my $page = CdcTest::Process->capture(argv => ['mandoc', '-T', 'utf8', "$prefix/share/man/man1/cdcdump.1"]);
    like($page->{out}, qr/Postgre/, 'the manual can be read');
    for my $time (1, 2) {
        make('022', 'uninstall', "DESTDIR=$to");
        is_deeply([sort grep { !m{/\z} } keys %{ tree($to) }], ['/usr/local/bin/other', '/usr/local/share/doc/cdcdump/examples/mine'],
            "uninstall, time $time: what is somebody else's stays");
    }
}

# Somebody who is not root installs what root has built, below a folder of their own.
SKIP: {
    my (undef, undef, $uid, $gid) = getpwnam 'nobody';
    skip_without($> == 0 && defined $uid, 'not root, so all of the above was done by somebody else', 3);
    my $to = "$dir/nobody";
    mkdir $to, 0755 or die "mkdir: $!";
    chown $uid, $gid, $to;
    my $reads = CdcTest::Process->capture(argv => ['test', '-r', "$Cdc::TOP/Makefile", '-a', '-x', $Cdc::BINARY], user => [$uid, $gid, 'nobody']);
    skip_without($reads->{exit} == 0, 'nobody but root can read the sources', 3);
    my $r = CdcTest::Process->capture(
        argv => ['make', '-s', '-C', $Cdc::TOP, 'install', "BUILD=$dir/b", "BINARY=$Cdc::BINARY", '-o', $Cdc::BINARY, "DESTDIR=$to"],
        env => { @no_make, HOME => $to }, user => [$uid, $gid, 'nobody'],
    );
    is($r->{exit}, 0, 'make install by somebody who is not root');
    is($r->{err}, '', '… quietly');
    is(scalar(grep { !m{/\z} } keys %{ tree($to) }), scalar(keys %files), '… everything');
}

done_testing;
