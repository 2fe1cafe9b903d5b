# Completion in bash and zsh: typed into a terminal, where a key puts in all that is offered and the
# command that is called so says with which words.
use v5.36;
use utf8;
use CdcTest;

my $dir = scratch();
for (['b'], ['cross', 'CC=/no/such-gcc', 'SANITIZE=1']) {
    my ($folder, @more) = @$_;
    my $build = CdcTest::Process->capture(
        argv => ['make', '-s', '-C', $Cdc::TOP, "BUILD=$dir/$folder", @more, 'completions'],
        env  => { map { $_ => undef } qw(MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES SANITIZE STRICT) },
    );
    is($build->{exit}, 0, "the completions are built: @more") or diag($build->{err});
    is($build->{err}, '', '… quietly');
}
my %file = (bash => "$dir/b/completion/cdcdump.bash", zsh => "$dir/b/completion/_cdcdump");
for my $shell (sort keys %file) {
    unlike(slurp($file{$shell}), qr/\@OPTIONS\@/, "$shell: with the options");
    is(slurp($file{$shell}), slurp($file{$shell} =~ s{/b/}{/cross/}r), '… whatever the build');
}

my $pg = PgServer->new(tcp => 0);
$pg->create_db($_) for qw(shop shed), 'odd $(touch touched)';
$pg->sql('shop', <<'SQL');
CREATE ROLE shopkeeper LOGIN;
CREATE ROLE nobody_logs_in;
SELECT pg_create_logical_replication_slot('first_slot', 'pgoutput'), pg_create_logical_replication_slot('other_slot', 'test_decoding'),
    pg_create_physical_replication_slot('physical_slot');
SQL

# The completions ask for slots in the way that no test types.
my $bin = scratch();
spew("$bin/cdcdump", <<"SH");
#!/bin/sh
case "\$*" in
*'--list-slots -F ndjson -wq'*) exec '$Cdc::BINARY' "\$@" ;;
esac
printf '[['; printf '<%s>' "\$@"; printf ']]\\n'
SH
chmod 0755, "$bin/cdcdump" or die "chmod: $!";
symlink PgServer::bindir() . '/psql', "$bin/psql" or die "symlink: $!";

my %shell = (
    bash => {
        argv  => [qw(bash --norc --noprofile -i)],
        begin => qq(. '$file{bash}'\nbind '"\\C-t": insert-completions' 'set bell-style none'\nset +o history\n),
    },
    zsh => {
        argv  => [qw(zsh -f -i)],
        begin => <<"ZSH",
fpath=('$dir/b/completion' \$fpath); autoload -Uz compinit; compinit -D -u
zle -C all-matches complete-word _generic; bindkey '^T' all-matches
zstyle ':completion:all-matches:*' completer _all_matches _complete
zstyle ':completion:all-matches:*' insert yes
setopt no_beep
ZSH
    },
);

# What the command was called with, line by line: "a b" for <a><b>.
my $screen;    # all that was seen
sub typed ($shell, $env, @lines) {
    my $keys = $shell{$shell}{begin} . join('', map { "$_\n" } @lines) . "exit\n";
    open my $said, '+>', undef or die "could not open a temporary file: $!";
    my $r = CdcTest::Process->capture(
        argv => ['script', '-qefc', join(' ', @{ $shell{$shell}{argv} }), '/dev/null'], input => $keys, timeout => 60, cwd => $dir,
        env => { PATH => "$bin:$ENV{PATH}", TERM => 'dumb', HOME => $dir, INPUTRC => '/dev/null', PS1 => '$ ', PGHOST => "$dir/nowhere", PGUSER => 'somebody', PGCONNECT_TIMEOUT => 30, %$env },
    );
    $screen = $r->{out};
    my @called = map { join ' ', /<(.*?)>/g } $r->{out} =~ /\[\[(.*?)\]\]/g;
    return @called if @called == @lines;
    diag(scalar(@called) . ' of ' . @lines . " lines came out of $shell:\n$r->{out}$r->{err}");
    return @called, ('?') x @lines;
}

# [keys up to the cursor, what the line is then, for zsh where that differs]: zsh repeats what stands before
# each word, and takes a "=" without a value back.
my $t = "\cT";
my @cases = (
    ["cdcdump -F $t", '-F avro csv ndjson'],
    ["cdcdump -Fc$t", '-Fcsv'],
    ["cdcdump -qF n$t", '-qF ndjson'],
    ["cdcdump --format=$t", '--format=avro csv ndjson', '--format=avro --format=csv --format=ndjson'],
    ["cdcdump --format=cs$t", '--format=csv'],
    ["cdcdump --format cs$t", '--format csv'],
    ["cdcdump -e debezium-$t", '-e debezium-0.9'],
    ["cdcdump --forma$t", '--format=', '--format'],
    ["cdcdump --list-slots --fo$t", '--list-slots --format=', '--list-slots --format'],
    ["cdcdump --list-slots --sl$t", '--list-slots --slot=', '--list-slots --slot'],
    ["cdcdump --fo$t", '--force --format=', '--force --format'],
    ["cdcdump --drop-slot --if-$t", '--drop-slot --if-exists'],
    ["cdcdump --create-slot --if-$t", '--create-slot --if-not-exists'],
    ["cdcdump --peek --cre$t", '--peek --cre'],
    ["cdcdump --if-$t", '--if-'],
    ["cdcdump --state=dir/st$t", '--state=dir/state.json'],
    ["cdcdump --state dir/st$t", '--state dir/state.json'],
    ["cdcdump -f dir/st$t", '-f dir/state.json'],
    ["cdcdump --config=dir/st$t", '--config=dir/state.json'],
    ["cdcdump --exec=cdcdum$t", '--exec=cdcdump'],
    ["cdcdump -d sho$t", '-d sho'],
);
mkdir "$dir/dir" or die "mkdir: $!";
spew("$dir/dir/state.json", '{}');

my ($host, $port) = ($pg->sockdir, $pg->port);
my @server = (
    ["cdcdump -h $host -p $port -U postgres -d sh$t", "-h $host -p $port -U postgres -d shed shop"],
    ["cdcdump --host=$host --port $port -Upostgres sh$t", "--host=$host --port $port -Upostgres shed shop"],
    ["cdcdump -h $host -p $port -U postgres --dbname=sho$t", "-h $host -p $port -U postgres --dbname=shop"],
    ["cdcdump -h $host -p $port -U postgres -d shop -S $t", "-h $host -p $port -U postgres -d shop -S first_slot other_slot"],
    ["cdcdump -h $host -p $port -U postgres shop --drop-slot --slot=f$t", "-h $host -p $port -U postgres shop --drop-slot --slot=first_slot"],
    ["cdcdump -h $host -p $port -U shopk$t", "-h $host -p $port -U shopk"],
    ["cdcdump -h $host -p $port -U postgres -d od$t", "-h $host -p $port -U postgres -d odd \$(touch touched)"],
);
my @known = (["cdcdump -U shopk$t", '-U shopkeeper'], ["cdcdump -S oth$t", '-S other_slot'], ["cdcdump sho$t -S fir$t", 'shop -S first_slot']);

for my $shell (qw(bash zsh)) {
    SKIP: {
        skip_without(CdcTest::Process::find_program($shell) && CdcTest::Process::find_program('script'), "no $shell or no script(1)", 1);
        my $check = sub ($what, $env, @cases) {
            my @got = typed($shell, $env, map { $_->[0] } @cases);
            for my $n (0 .. $#cases) {
                is($got[$n], $shell eq 'zsh' && $cases[$n][2] || $cases[$n][1], "$shell, $what: " . $cases[$n][0] =~ s/\cT/<all>/gr);
            }
        };
        $check->('no server', {}, @cases);
        $check->('a server named', {}, @server);
        ok(!-e "$dir/touched", "$shell: what others have named is not run");
        $check->('a server in the environment', { %{ $pg->env }, PGDATABASE => 'shop' }, @known);
    }
}

SKIP: {
    skip_without(CdcTest::Process::find_program('zsh'), 'no zsh', 1);
    typed('zsh', { TERM => 'vt100' }, "cdcdump --ack-\t\cT");
    like($screen, qr/--ack-mode +-- when a transaction is accepted: written \(files\)/, 'zsh shows what --help says');
}

# ---- what is offered is what goes with the action ----

my %value = map { /\A  (?:-\w, |    )--([\w-]+)(=?)/ ? ($1 => $2) : () } Cdc->run(args => ['--help'])->lines;
my @actions = qw(list-slots peek check create-slot drop-slot ack);
my %offered;
@offered{'', @actions} = map { +{ map { /\A--([\w-]+)/ ? ($1 => 1) : () } split / / } }
    typed('bash', {}, map { 'cdcdump ' . ($_ && "--$_ ") . "--$t" } '', @actions);
is_deeply([sort keys %{ { map { %$_ } values %offered } }], [sort keys %value], 'every option of --help is offered, and no other');
for my $action ('', @actions) {
    my $others = join ' ', grep { $offered{$action}{$_} && $_ ne $action } @actions;
    is($others, $action ? '' : "@actions", 'actions offered behind ' . ($action ? "--$action" : 'nothing'));
}
# Of two mistakes, an option out of place is said when its value is right.
my %first = map { my (undef, $name, $value, undef, $word) = split / /; $value eq 'words' ? ($name => $word) : () }
    split /\n/, CdcTest::Process->capture(argv => ["$dir/b/tools/describe", 'bash'])->{out};
my %special = (config => '/dev/null', 'skip-ops' => 'c', startpos => '1/1');
my @wrong;
for my $option (sort keys %value) {
    next if $option =~ /\A(?:help|version|password)\z/ || grep { $_ eq $option } @actions;
    my $word = "--$option" . ($value{$option} && '=' . ($first{$option} // $special{$option} // 1));
    my $r = Cdc->run(args => ['--create-slot', $word, '-d', 'host=/nowhere', '-w']);
    my $goes = $r->err !~ /^cdcdump: error: --create-slot and --\Q$option\E cannot be used together$/m;
    push @wrong, ($goes ? 'not offered: ' : 'offered: ') . $option if $goes != !!$offered{'create-slot'}{$option};
}
is(join("\n", @wrong), '', 'what is offered with --create-slot is what goes with it');
cmp_ok(scalar(keys %{ $offered{'create-slot'} }), '<', keys(%value) - 20, '… and not all');

# ---- the manual's list of keys ----

my ($keys) = slurp("$Cdc::TOP/man/cdcdump.1") =~ /^\.\\" BEGIN KEYS.*?\n(.*?)^\.\\" END KEYS$/ms;
is($keys, CdcTest::Process->capture(argv => ["$dir/b/tools/describe", 'keys'])->{out},
    'the manual lists the keys of properties files as they are read (make manual)');

done_testing;
