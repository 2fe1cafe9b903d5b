# CdcTest::Files - the folder that cdcdump writes several output files into.
#
#   my @names = files($dir);           # of all that are no folders; complete($dir), under_way($dir)
#   look($dir, 'what was done');       # a test that fails when a complete file is not what it was
#   taken($path);                      # a reader has taken that one away: it may go, and come back another
#   forget($dir);                      # removes the folder, and what was seen in it
package CdcTest::Files;
use v5.36;

use Digest::MD5 ();
use Exporter qw(import);
use File::Path qw(remove_tree);
use Test::More ();

our @EXPORT = qw(files complete under_way look taken forget);

sub files ($dir) { return map { s{.*/}{}r } grep { !-d } glob "$dir/*" }
sub complete ($dir) { return grep { !/\.partial\z/ } files($dir) }
sub under_way ($dir) { return grep { /\.partial\z/ } files($dir) }

my %seen;    # path -> inode, size, time, digest

# Whoever looks sees to it that complete files are what they were.
sub look ($dir, $name) {
    my @wrong = map { "$_ has gone" } grep { m{\A\Q$dir\E/} && !-e } keys %seen;
    for my $path (map { "$dir/$_" } complete($dir)) {
        my $is = join ' ', (stat $path)[1, 7, 9], _digest($path);
        push @wrong, "$path was $seen{$path}, is $is" if ($seen{$path} //= $is) ne $is;
    }
    Test::More::is(join("\n", @wrong), '', "$name: complete files stay as they are") if @wrong;
}

sub _digest ($path) {
    open my $fh, '<:raw', $path or die "$path: $!";
    return Digest::MD5->new->addfile($fh)->hexdigest;
}

sub taken ($path) { delete $seen{$path} }

sub forget ($dir) {
    remove_tree($dir);
    delete @seen{ grep { m{\A\Q$dir\E/} } keys %seen };
}

1;
