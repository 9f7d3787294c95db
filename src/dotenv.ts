/** The variables of a file `.env`, and one line for each part of the file that has no clear meaning. */
export interface DotEnv {
  variables: Map<string, { value: string; line: number }>
  problems: string[]
}

/** Returns the text between quotes, and how many further lines it takes; null when the quote is not closed. */
function readQuoted(rest: string, following: string[]): { value: string; after: string; lines: number } | null {
  const quote = rest[0] as string
  let text = rest.slice(1)
  let lines = 0
  while (!text.includes(quote)) {
    const next = following[lines]
    if (next === undefined) return null
    text += `\n${next}`
    lines++
  }
  const end = text.indexOf(quote)
  const value = text.slice(0, end)
  return { value: quote === '"' ? value.replaceAll('\\n', '\n') : value, after: text.slice(end + 1), lines }
}

/**
 * Parses the text of a file `.env`: lines `NAME=value`, which may begin with `export`. A value may be in quotes, also over several lines;
 * in double quotes `\n` is a line feed. `#` begins a comment at the beginning of a line and after a space. A problem names the line and
 * never repeats a value, which may be a secret.
 */
export function parseDotEnv(text: string): DotEnv {
  const lines = text.replace(/^\ufeff/, '').split(/\r?\n/)
  const variables: DotEnv['variables'] = new Map()
  const problems: string[] = []

  for (let index = 0; index < lines.length; index++) {
    const line = index + 1
    const problem = (reason: string) => void problems.push(`.env, line ${line}: ${reason}`)
    const content = lines[index] as string
    if (/^\s*(#|$)/.test(content)) continue
    const [, name, rest = ''] = /^\s*(?:export\s+)?([A-Za-z_][\w.-]*)\s*=(.*)$/.exec(content) ?? []
    if (name === undefined) {
      problem(content.includes('=') ? 'the text before "=" is not a name' : 'there is no "="; expected NAME=value')
      continue
    }
    let value = rest.replace(/\s#.*$/, '').trim()
    if (/^["'`]/.test(value)) {
      const quoted = readQuoted(rest.trimStart(), lines.slice(line))
      if (quoted === null) {
        problem(`the quote ${value[0]} of ${name} is not closed`)
        break
      }
      value = quoted.value
      index += quoted.lines
      if (!/^\s*(#.*)?$/.test(quoted.after))
        problem(`text follows the closing quote of ${name}; a quote may be missing`)
    } else if (value.includes('#')) {
      problem(`the value of ${name} holds "#"; put the value in quotes, or a space before a comment`)
    }
    const previous = variables.get(name)
    if (previous !== undefined) problem(`${name} is already set in line ${previous.line}`)
    variables.set(name, { value, line })
  }
  return { variables, problems }
}
