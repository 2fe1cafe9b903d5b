# Power cuts: what was not synced may be lost, or be there.  At each point of a run, and of the run after a
# kill, the folder is put as a cut there could have left it, and the next run has to make it right: each
# change once.
#
# The shim notes every call that changes files, with its bytes, and what the server was told.  From that
# come, for each point, the names and contents that are durable, and those that may be: a name by the sync
# of its folder, content by the sync of its file.  CDCTEST_SEED=N makes the same random choices again.
use v5.36;
use CdcTest;
use CdcTest::Faults;
use CdcTest::Files;
use Digest::MD5 qw(md5_hex);
use File::Basename qw(dirname);
use List::Util qw(shuffle);
use Time::HiRes qw(time);

my $seed = $ENV{CDCTEST_SEED} // (time * 1000) % 1_000_000;
srand $seed;
note "seed $seed";
END { diag("seed $seed") if defined $seed && !Test::More->builder->is_passing }

skip_all_without(!CdcTest::Faults::why_not(), CdcTest::Faults::why_not());

my $pg = PgServer->new;
my $began = time;
sub lap ($what) { note sprintf '%s: %.1f s', $what, time - $began; $began = time }

# ---- a backlog ----

$pg->create_db('shop');
$pg->sql('shop', q(CREATE TABLE t (id int PRIMARY KEY, v text);
    CREATE PUBLICATION p FOR TABLE t; SELECT pg_create_logical_replication_slot('begin', 'pgoutput')));
my @ends = map {
    $pg->sql('shop', "INSERT INTO t SELECT g, repeat('x', 100) FROM generate_series($_ * 10, $_ * 10 + 3) g");
    $pg->sql('shop', 'SELECT pg_current_wal_insert_lsn()');
} 1 .. 5;
my $session = $pg->session('shop');

sub renew_slot ($name, $told) {
    wait_until(sub { ($session->try("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '$name'"))[0] },
        30, "slot $name to be free");
    $session->sql("SELECT pg_copy_logical_replication_slot('begin', '$name')");
    $session->sql("SELECT pg_replication_slot_advance('$name', '$told') FROM pg_replication_slots
        WHERE slot_name = '$name' AND confirmed_flush_lsn < '$told'") if $told;
}

# ---- runs ----

my $faults = CdcTest::Faults->new;
my ($top, $kept);    # of a scenario: the folder of its folders, and one that keeps files alive

sub run ($s, $until, %more) {
    return Cdc->run(server => $pg, db => 'shop', stdout => $s->{stdout} // 'null', %more,
        args => [-S => 's', '-m' => 'never', '--publication' => 'p', '--publication-mode' => 'existing', -e => 'plain',
            '--state' => "$s->{state}/s.json", -E => $until, @{ $s->{args} // [] }]);
}

sub events ($bytes) {
    return map { /"commit_lsn":"([^"]+)","seq":(\d+),/ or die "no place in: $_"; [lsn_num($1), $2, $_] } $bytes =~ /^.*\n/mg;
}
sub text_of (@events) { return join '', map { $_->[2] } sort { $a->[0] <=> $b->[0] || $a->[1] <=> $b->[1] } @events }

# ---- a file system that forgets ----

# {names, durable_names}: path -> inode; {data, durable}: inode -> bytes; {told}: LSN
sub new_disk () { return { names => {}, durable_names => {}, data => {}, durable => {}, told => '', next => 1 } }

sub make_file ($disk, $path) {
    my $inode = $disk->{names}{$path} = $disk->{next}++;
    $disk->{data}{$inode} = $disk->{durable}{$inode} = '';
}

my ($O_CREAT, $O_TRUNC) = (0100, 01000);

my %effect = (
    open => sub ($disk, $e) {
        return if $e->{result} < 0;
        make_file($disk, $e->{path}) if $e->{flags} & $O_CREAT && !defined $disk->{names}{ $e->{path} };
        $disk->{data}{ $disk->{names}{ $e->{path} } } = '' if $e->{flags} & $O_TRUNC;
    },
    write => sub ($disk, $e) {
        my $inode = $disk->{names}{ $e->{path} } // return;
        die "not all of a write is in the trace\n" if length $e->{data} != $e->{result};
        my $gap = $e->{offset} - length $disk->{data}{$inode};
        $disk->{data}{$inode} .= "\0" x $gap if $gap > 0;
        substr $disk->{data}{$inode}, $e->{offset}, length $e->{data}, $e->{data};
    },
    ftruncate => sub ($disk, $e) {
        my $inode = $disk->{names}{ $e->{path} } // return;
        $disk->{data}{$inode} = substr $disk->{data}{$inode}, 0, $e->{offset};
    },
    fsync => sub ($disk, $e) {
        my $inode = $disk->{names}{ $e->{path} };
        return $disk->{durable}{$inode} = $disk->{data}{$inode} if defined $inode;
        for my $names (@$disk{qw(durable_names names)}) {
            for my $path (grep { dirname($_) eq $e->{path} } keys %$names) {
                if (defined $disk->{names}{$path}) { $disk->{durable_names}{$path} = $disk->{names}{$path} }
                else                               { delete $disk->{durable_names}{$path} }
            }
        }
    },
    rename => sub ($disk, $e) { $disk->{names}{ $e->{path2} } = delete $disk->{names}{ $e->{path} } },
    unlink => sub ($disk, $e) { delete $disk->{names}{ $e->{path} } },
    send => sub ($disk, $e) {
        # CopyData with a standby status update: written, flushed, applied, time, reply
        return unless length $e->{data} == 39 && substr($e->{data}, 0, 6) eq "d\0\0\0\x26r";
        my ($flushed) = unpack 'x14 Q>', $e->{data};
        $disk->{told} = lsn_text($flushed) if !$disk->{told} || $flushed > lsn_num($disk->{told});
    },
);
$effect{fdatasync} = $effect{fsync};

# Each file, as {path -> bytes}: names that may be or are durable, with contents likewise.
sub image ($disk, $names, $data) {
    my %image;
    for my $path (keys %{ $disk->{$names} }) {
        my $inode = $disk->{$names}{$path};
        my ($all, $safe) = ($disk->{data}{$inode}, $disk->{durable}{$inode});
        # length first, then the bytes, is what some file systems do
        $image{$path} = { inode => $inode, bytes => $data eq 'all' ? $all
            : $data eq 'zeros' && length $all > length $safe ? $safe . "\0" x (length($all) - length $safe) : $safe };
    }
    return \%image;
}

# All that a cut at this point may leave behind.
sub note_images ($disk, $where, $images) {
    for my $names (qw(durable_names names)) {
        for my $data (qw(durable zeros all)) {
            my $image = image($disk, $names, $data);
            my $key = md5_hex(join "\0", $disk->{told}, map { ($_, @{ $image->{$_} }{qw(inode bytes)}) } sort keys %$image);
            $images->{$key} //= { files => $image, told => $disk->{told}, where => "$where, $names, $data" };
        }
    }
}

# The calls of a run, one by one.
sub replay ($disk, $images, @calls) {
    my $run = ++$disk->{runs};
    for my $e (@calls) {
        next if $e->{path} =~ /\.lock/ || $e->{result} < 0 && $e->{call} ne 'send';
        my $effect = $effect{ $e->{call} } or next;
        $effect->($disk, $e);
        my $path = $e->{path} =~ s{\A\Q$top\E/?}{}r;
        note_images($disk, "run $run, after $e->{call} $e->{nth} of $path", $images);
    }
}

# ---- scenarios ----

# What state files know by their inodes has to be those again.
sub put ($image) {
    unlink glob "$top/*/*";
    for my $path (keys %$image) {
        my $from = "$kept/$image->{$path}{inode}";
        if (-e $from) { link $from, $path or die "link: $!" }
        spew($path, $image->{$path}{bytes});
    }
}

# After each run, before the next one removes some.
sub keep_files ($disk) {
    for my $path (keys %{ $disk->{names} }) {
        my $to = "$kept/$disk->{names}{$path}";
        -e $to or link $path, $to or die "link: $!";
    }
}

# Traces it, perhaps to its being killed.
sub traced ($s, $until, @fault) {
    $faults->clear;
    $faults->trace(1, data => 1 << 20);
    my $rule = @fault ? $faults->arm(@fault) : undef;
    my $r = run($s, $until, env => $faults->env);
    if (defined $rule) { $r->signaled('KILL', "$s->{name}: killed") }
    else               { $r->exited(0, "$s->{name}: a run") }
    is($faults->trace_lost, 0, "$s->{name}: all of it is known");
    return $faults->calls;
}

# At most so many of them.
sub some ($most, @list) {
    return @list if @list <= $most || $ENV{CDCTEST_ALL_CALLS};
    return (shuffle(@list))[0 .. $most - 1];
}

sub wrong_with ($s, $image, $want) {
    put($image->{files});
    renew_slot('s', $image->{told});
    my $r = run($s, $ends[-1]);
    my @wrong;
    push @wrong, $r->describe . ' ' . $r->err unless defined $r->exit && $r->exit == 0;
    push @wrong, 'warns: ' . $r->err if $r->err =~ /warning/;
    my @left = map { s{.*/}{}r } grep { /\.partial\z/ } glob "$s->{output}/*";
    push @wrong, "left: @left" if @left;
    my @have = eval { map { events(slurp($_)) } grep { !/s\.json|\.partial/ } glob "$s->{output}/*" };
    push @wrong, 'has ' . join ' ', map { lsn_text($_->[0]) . ",$_->[1]" } @have if text_of(@have) ne $want;
    return map { "$image->{where}: $_" } @wrong;
}

sub scenario ($name, $most, $make, @kill) {
    ($top, $kept) = (scratch(), scratch());
    mkdir "$top/$_" for 'state', 'out';
    my $s = { name => $name, state => "$top/state", output => "$top/out", $make->("$top/out") };
    $s->{state} = "$top/out" if $s->{together};
    my ($disk, %images) = new_disk();
    # the shell makes it, and syncs nothing
    make_file($disk, "$top/out/out") if $s->{stdout};
    renew_slot('s', '');
    my @runs = ((map { [$ends[2], @$_] } @kill), [$ends[2]], [$ends[4]]);
    for my $run (@runs) {
        replay($disk, \%images, traced($s, @$run));
        keep_files($disk);
    }
    for my $path (keys %{ $disk->{names} }) {
        is(slurp($path), $disk->{data}{ $disk->{names}{$path} }, "$name: the model has what is on disk: " . $path =~ s{.*/}{}r);
    }
    my $want = text_of(map { events(slurp($_)) } grep { !/s\.json/ } glob "$s->{output}/*");
    is(scalar(() = $want =~ /\n/g), 20, "$name: has all changes");
    my @images = some($most, values %images);
    my @wrong = map { wrong_with($s, $_, $want) } @images;
    is(join("\n", @wrong[0 .. ($#wrong < 9 ? $#wrong : 9)]), '', "$name: each change once after a power cut");
    cmp_ok(scalar @images, '>=', 15, "$name: power cuts");
    lap("$name: " . @images . ' of ' . keys(%images) . ' images');
}

scenario('file', 40, sub ($out) { (together => 1, args => ['-f', "$out/out"]) },
    [call => 'fdatasync', path => '/out', kill => 'after']);
scenario('file and state apart', 25, sub ($out) { (args => ['-f', "$out/out"]) },
    [call => 'rename', path => 's.json', nth => 2, kill => 'after']);
scenario('stdout', 25, sub ($out) { (stdout => ">>$out/out") },
    [call => 'fdatasync', path => '/out', kill => 'before']);
# the last of them is renamed, which nothing else makes durable then
scenario('files', 40, sub ($out) { (args => ['-f', "$out/{table}-{lsn}.ndjson", '--rotate' => '1kB']) },
    [call => 'rename', path => '.ndjson', nth => 3, kill => 'after']);
scenario('files, killed twice', 30, sub ($out) { (args => ['-f', "$out/{table}-{lsn}.ndjson", '--rotate' => '1kB']) },
    [call => 'fdatasync', path => '.ndjson', nth => 2, kill => 'after'], [call => 'rename', path => '.ndjson', kill => 'before']);
done_testing;
