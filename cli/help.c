#include "cli/help.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "cli/option_table.h"

enum { HELP_COLUMN = 30, HELP_WIDTH = 79 };

/* Prints text from HELP_COLUMN on, broken between words. */
static void print_wrapped(const char *text, size_t column)
{
    if (column + 1 > HELP_COLUMN) {
        putchar('\n');
        column = 0;
    }
    for (; column < HELP_COLUMN; column++)
        putchar(' ');
    while (*text) {
        size_t word = strcspn(text, " ");

        if (column > HELP_COLUMN && column + 1 + word > HELP_WIDTH) {
            printf("\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
        }
        if (column > HELP_COLUMN) {
            putchar(' ');
            column++;
        }
        fwrite(text, 1, word, stdout);
        column += word;
        text += word + (text[word] == ' ');
    }
    putchar('\n');
}

static void print_row_help(const struct option_row *row)
{
    int column;

    if (row->kind == KIND_GROUP) {
        printf("\n%s:\n", row->help);
        return;
    }
    column = row->letter ? printf("  -%c, ", row->letter) : printf("      ");
    column += printf("--%s", row->name);
    if (row->placeholder)
        column += printf("=%s", row->placeholder);
    print_wrapped(row->help, (size_t)column);
}

static void print_options(void)
{
    printf("cdcdump writes the rows and changes of PostgreSQL tables to standard output.\n\n"
           "Usage:\n  cdcdump [OPTION]... [DBNAME | CONNINFO | URI]\n");
    for (size_t i = 0; i < option_count; i++)
        print_row_help(&option_rows[i]);
    printf("\nExit status: 0 done, 1 other failure, 2 something to change, 3 try again later,\n"
           "4 position lost, 5 output failed, 6 columns changed.  See cdcdump(1).\n");
}

/* Help that could not be written is a failure like any other output that could not. */
static bool is_written(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return true;
    log_error("could not write to standard output: %m");
    return false;
}

bool help_print(void)
{
    print_options();
    return is_written();
}

bool help_print_version(void)
{
    puts("cdcdump " CDCDUMP_VERSION);
    return is_written();
}
