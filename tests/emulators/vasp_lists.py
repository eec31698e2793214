"""The head of an OUTCAR as VASP 5.4.4 and 6 write it: echo of INCAR, POTCARs, advice, lists of parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vasp import Run

ADVICE = """
 -----------------------------------------------------------------------------
|                                                                             |
|  ADVICE TO THIS USER RUNNING 'VASP/VAMP'   (HEAR YOUR MASTER'S VOICE ...):  |
|                                                                             |
|      You have a (more or less) 'small supercell' and for smaller cells      |
|      it is recommended  to use the reciprocal-space projection scheme!      |
|      Therefore set LREAL=.FALSE. in the  INCAR file                         |
|                                                                             |
 -----------------------------------------------------------------------------

"""


def head(run: Run) -> str:
    """Return everything before the first iteration but for symmetry and k-points."""
    six = not run.version.startswith("5")
    echo = "".join(f"   {key} = {value}\n" for key, value in run.incar.items()) if six else ""
    named = "".join(f" POTCAR:    {title:35s}\n" for title in run.titles)
    blocks = zip(run.titles, run.species, run.valences, strict=True)
    potcars = "".join(potcar(title, symbol, z) for title, (symbol, _), z in blocks)
    return (
        f" vasp.{run.version} emulator\n running    1 mpi-ranks, with    1 threads/rank, on    1 nodes\n\n"
        f" INCAR:\n{echo}{named}{potcars}{ADVICE if on(run, 'LREAL') else ''}{lists(run)}"
    )


def potcar(title: str, symbol: str, valence: float) -> str:
    """Return what VASP says of one POTCAR."""
    return (
        f" POTCAR:    {title:35s}\n   VRHFIN ={symbol}: made up\n   LEXCH  = PE\n\n   TITEL  = {title}\n"
        f"   POMASS =   10.000; ZVAL   = {valence:8.3f}    mass and valenz\n"
        "   ENMAX  =  245.345; ENMIN  =  184.009 eV\n\n"
    )


def on(run: Run, key: str) -> str:
    """Return T or F as VASP lists it; LREAL = Auto is T."""
    word = run.used.get(key, "F").strip().strip(".").upper()
    return "T" if word[0] in ("T", "A", "O") else "F"


def lists(run: Run) -> str:
    """Return the lists of parameters, with VASP's few decimals."""
    counts = "".join(f"{count:4d}" for _, count in run.species)
    support = 128 if on(run, "ADDGRID") == "T" else 64
    hybrid = on(run, "LHFCALC") == "T"
    number = run.number
    sizes = (
        "   k-points           NKPTS =      1   k-points in BZ     NKDIM =      1"
        f"   number of bands    NBANDS={run.n_bands:6d}"
    )
    text = f"""
 Dimension of arrays:
{sizes}
   number of dos      NEDOS =    301   number of ions     NIONS ={len(run.atoms):7d}
   total plane-waves  NPLWV =  13824
   dimension x,y,z NGX =    32 NGY =   32 NGZ =   32
   dimension x,y,z NGXF=    64 NGYF=   64 NGZF=   64
   support grid    NGXF={support:6d} NGYF={support:5d} NGZF={support:5d}
   ions per type =            {counts}
   NGX,Y,Z   is equivalent  to a cutoff of   9.31,  9.31,  9.31 a.u.

 Startparameter for this run:
   NWRITE =      2    write-flag & timer
   PREC   = {run.used["PREC"].lower()[:6]:6s}    normal or accurate (medium, high low for compatibility)
   ISPIN  = {number("ISPIN"):6.0f}    spin polarized calculation?
   LNONCOLLINEAR = {on(run, "LNONCOLLINEAR"):>6s} non collinear calculations
   LSORBIT = {on(run, "LSORBIT"):>6s}    spin-orbit coupling
   LASPH  = {on(run, "LASPH"):>6s}    aspherical Exc in radial PAW
   METAGGA=      F    non-selfconsistent MetaGGA calc.

 Electronic Relaxation 1
   ENCUT  = {number("ENCUT"):6.1f} eV  38.22 Ry    6.18 a.u.  12.72 12.72 18.02*2*pi/ulx,y,z
   NELM   = {number("NELM"):6.0f};   NELMIN=  2; NELMDL= -5     # of ELM steps
   EDIFF  = {number("EDIFF"):.1E}   stopping-criterion for ELM
   LREAL  = {on(run, "LREAL"):>6s}    real-space projection
   ROPT   =    0.00000   0.00000
 Ionic relaxation
   NSW    = {number("NSW"):6.0f}    number of steps for IOM
   IBRION = {number("IBRION"):6.0f}    ionic relax: 0-MD 1-quasi-New 2-CG
   ISIF   = {number("ISIF"):6.0f}    stress and relaxation
   PSTRESS= {number("PSTRESS"):6.1f} pullay stress

   NELECT = {run.n_electrons:12.4f}    total number of electrons

 DOS related values:
   EMIN   =  10.00;   EMAX   =-10.00  energy-range for DOS
   ISMEAR = {number("ISMEAR"):5.0f};   SIGMA  = {number("SIGMA"):6.2f}  broadening in eV -4-tet -1-fermi 0-gaus

 Write flags
   LORBIT = {number("LORBIT"):6.0f}    0 simple, 1 ext, 2 COOP (PROOUT)

"""
    if on(run, "LDAU") == "T":
        by_species = {
            key: "".join(f"{float(x):5.1f}" for x in run.used.get(key, "0 0").split())
            for key in ("LDAUU", "LDAUJ")
        }
        text += (
            f" LDA+U is selected, type is set to LDAUTYPE = {int(run.used.get('LDAUTYPE', 2)):2d}\n"
            "   angular momentum for each species LDAUL =     2   -1\n"
            f"   U (eV)           for each species LDAUU = {by_species['LDAUU']}\n"
            f"   J (eV)           for each species LDAUJ = {by_species['LDAUJ']}\n"
        )
    text += f""" Exchange correlation treatment:
   GGA     = {run.used["GGA"]:>5s}    GGA type
   LEXCH   =     8    internal setting for exchange type
   LHFCALC = {on(run, "LHFCALC"):>5s}    Hartree Fock is set to
"""
    if hybrid:
        text += f"   HFSCREEN={float(run.used.get('HFSCREEN', 0)):9.4f} screening length \n"
    share = float(run.used.get("AEXX", 0)) if hybrid else 0.0
    text += f"   AEXX    ={share:10.4f} exact exchange contribution\n"
    if number("IVDW"):
        text += f"\n   IVDW         = {number('IVDW'):3.0f}\n"
    text += f" Linear response parameters\n   LEPSILON=     {on(run, 'LEPSILON')}"
    return text + "    determine dielectric tensor\n\n"
