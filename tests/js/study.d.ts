// What a rater's page works on: bench/study/sessions.py says what the server answers.

type StudyChoice = "left" | "right" | "tie";

interface StudyItem {
  id: string;
  question: string;
  prompt: string;
  set: boolean;
  practice: boolean;
  left: string;
  right: string;
}

interface StudyState {
  consented: boolean;
  done: number;
  total: number;
  item: StudyItem | null;
  ahead: string[];
  code: string | null;
}

interface StudyAnswer {
  item: string;
  choice: StudyChoice;
  seconds: number;
}

/** Where a page's questions go: to the server, or to the data of a bundle. */
interface StudyTransport {
  state(): Promise<StudyState>;
  consent(): Promise<StudyState>;
  vote(answer: StudyAnswer): Promise<{ stored: boolean; state: StudyState }>;
  picture(handle: string): string;
  save?(): void;
}

interface StudyBundle {
  study: string;
  rater: string;
  items: StudyItem[];
  pictures: Record<string, string>;
}

interface Window {
  studyLocal?: StudyTransport;
}
