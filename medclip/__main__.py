"""`python -m medclip` is the command `medclip`."""

from medclip.cli.umbrella import main

if __name__ == "__main__":
    main()
