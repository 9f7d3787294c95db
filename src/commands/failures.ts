import type { Command } from 'commander'
import { DomainError, type Missing, SetupError } from '../domain/errors.ts'
import { didYouMean } from '../similar.ts'
import { quoted } from '../token/refusal.ts'
import { Refusal } from './terminal.ts'

/** The command that lists the objects of a kind. */
const LISTS: Record<Missing['kind'], string> = {
  user: 'user list',
  role: 'role list',
  client: 'client list',
  resource: 'resource list',
  session: 'session list <username>',
  login: 'session list <username>',
  consent: 'client list',
  key: 'key list',
  secret: 'client show <client>',
  scope: 'resource list'
}

/** Returns the line for an object that does not exist: its name, a similar name, and the command that lists the names. */
const missingLine = ({ kind, name, names = [] }: Missing): string =>
  `There is no ${kind} ${quoted(name)}${didYouMean(name, names)}; "latchkey ${LISTS[kind]}" lists the existing ones`

/** Returns what a command prints about an error: its message, with one line for each problem, if it was expected, else the stack. */
export function failureText(error: Error): string {
  if (error instanceof DomainError && error.missing !== undefined) return missingLine(error.missing)
  if (error instanceof DomainError && error.code === 'unavailable' && error.cause instanceof Error)
    return `${error.message} (${error.cause.message})`
  const isExpected = error instanceof Refusal || error instanceof SetupError || error instanceof DomainError
  return (isExpected ? error.message : error.stack) ?? String(error)
}

/** Returns the command of the arguments, and the words that name it: `user add`. */
export function findCommand(program: Command, args: string[]): { command: Command; words: string[] } {
  let command = program
  const words: string[] = []
  for (const arg of args) {
    const next = command.commands.find((each) => each.name() === arg)
    if (next === undefined) break
    command = next
    words.push(arg)
  }
  return { command, words }
}

/** Maximum number of characters of an error about wrong usage, which repeats an argument. */
const USAGE_MAX = 300

/** Returns the line about wrong usage. @param text the text of commander: an error, and perhaps a second line with a proposal */
export function usageLine(text: string, words: string[]): string {
  const [, error = '', proposal] = /^(.*?)(?:\n\(Did you mean (.*)\?\))?\n*$/s.exec(text) ?? []
  const shown = error.length > USAGE_MAX ? `${error.slice(0, USAGE_MAX)}…` : error
  return `${shown}${proposal === undefined ? '' : `, did you mean ${proposal}?`}; see "${['latchkey help', ...words].join(' ')}"\n`
}

/** Adds `latchkey help`, which prints the help of any command. */
export function addHelpCommand(program: Command): void {
  program
    .command('help [command...]')
    .description('print the help of a command')
    .action((args: string[]) => {
      const { command, words } = findCommand(program, args)
      const unknown = args[words.length]
      if (unknown !== undefined) {
        const proposal = didYouMean(
          unknown,
          command.commands.map((each) => each.name())
        )
        throw new Refusal(
          `there is no command ${quoted([...words, unknown].join(' '))}${proposal}; see "${['latchkey help', ...words].join(' ')}"`,
          2
        )
      }
      command.outputHelp()
    })
}
