/*
 * describe - prints tables of the program for those who are no C: the completions of shells and the
 * manual.  It is run while cdcdump is built, and is no part of it.
 *
 *   describe bash    options, a line each, four or more words: letter or "-", long name, what the
 *                    value is, actions, words that the value may be
 *   describe zsh     the same, and behind " | " the text of --help
 *   describe keys    the keys of properties files, in mdoc(7)
 *
 * What the value is: "none"; "action", none as well, for what is done instead of a capture;
 * "words", one of those that follow; "file", "database", "slot", "host", "role", "command"; else
 * "any".  A "*" behind it: the option may be given again and again.
 * Actions, with commas between: those that the option goes with, by their long names and "capture".
 *
 * The texts of the table must not get in the way of the lines: what does ends the build.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/connector_keys.h"
#include "cli/option_table.h"

static bool is_action(const struct option_row *row)
{
    const struct option_row *first = option_of_action(ACTION_ACK);

    return row->kind == KIND_SET && row->offset == first->offset;
}

/* Those that say what they are in their placeholder, and those that say it in their name. */
static const char *value_of_name(const struct option_row *row)
{
    static const struct {
        const char *option;
        const char *value;
    } names[] = {{"dbname", "database"}, {"slot", "slot"},
                 {"host", "host"},       {"username", "role"}};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(row->name, names[i].option) == 0)
            return names[i].value;
    return "any";
}

static const char *value_of(const struct option_row *row)
{
    if (is_action(row))
        return "action";
    if (!row->placeholder)
        return "none";
    if (row->choices)
        return "words";
    if (strcmp(row->placeholder, "FILE") == 0 || strcmp(row->placeholder, "FIFO") == 0)
        return "file";
    if (strcmp(row->placeholder, "COMMAND") == 0)
        return "command";
    return value_of_name(row);
}

static void print_actions(const struct option_row *row)
{
    const char *between = " ";

    for (int action = ACTION_CAPTURE; action <= ACTION_DROP_SLOT; action++) {
        const struct option_row *asks = option_of_action((enum action)action);

        if (!option_has_meaning(row, (enum action)action))
            continue;
        printf("%s%s", between, asks ? asks->name : "capture");
        between = ",";
    }
}

static void check_text(const struct option_row *row, const char *text, const char *forbidden)
{
    size_t at = strcspn(text, forbidden);

    if (text[at] == '\0' && *text != '\0')
        return;
    fprintf(stderr, "describe: option --%s has a text that shells would misread: \"%s\"\n",
            row->name, text);
    exit(EXIT_FAILURE);
}

static void print_option(const struct option_row *row, bool with_help)
{
    check_text(row, row->name, " \t\n|");
    printf("%c %s %s%s", row->letter ? row->letter : '-', row->name, value_of(row),
           row->kind == KIND_LIST ? "*" : "");
    print_actions(row);
    if (row->placeholder && row->choices) {
        for (const struct choice *c = row->choices; c->name; c++) {
            check_text(row, c->name, " \t\n|:\\*?[");
            printf(" %s", c->name);
        }
    }
    if (with_help) {
        check_text(row, row->help, "\t\n");
        printf(" | %s", row->help);
    }
    putchar('\n');
}

static void print_options(bool with_help)
{
    for (size_t i = 0; i < option_count; i++)
        if (option_rows[i].kind != KIND_GROUP)
            print_option(&option_rows[i], with_help);
}

int main(int argc, char **argv)
{
    const char *what = argc == 2 ? argv[1] : "";

    if (strcmp(what, "bash") == 0)
        print_options(false);
    else if (strcmp(what, "zsh") == 0)
        print_options(true);
    else if (strcmp(what, "keys") == 0)
        connector_keys_print_mdoc(stdout);
    else {
        fprintf(stderr, "usage: describe bash|zsh|keys\n");
        return 2;
    }
    if (fflush(stdout) == 0 && !ferror(stdout))
        return EXIT_SUCCESS;
    perror("describe: could not write to standard output");
    return EXIT_FAILURE;
}
